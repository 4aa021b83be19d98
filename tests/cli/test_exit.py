"""Exit of runs with several processes: stopped, killed or stuck ones.

One run is interrupted in each of these ways and resumed; its metrics equal
those of a run without interruptions.
"""

import re
import signal
import time

import numpy as np
import pytest

from get_jax.training.checkpoints import saved_steps
from get_jax.training.metrics import read_metrics
from tests.helpers import arguments, free_port, run_main, start_main

LAST = 4000
SAVED_EVERY = 8
EXIT_TIMEOUT = 60  # seconds within which the others of a lost process exit


class Group:
  """A run of main.py on several processes; all are killed at the end."""

  def __init__(self, workdir, count):
    self.workdir = workdir
    command = [
      *command_of(workdir, LAST),
      f"--coordinator=127.0.0.1:{free_port()}",
      f"--num_processes={count}",
    ]
    self.messages = [workdir.parent / f"messages{i}" for i in range(count)]
    self.processes = [
      start_main(*command, f"--process_id={i}", stderr=path)
      for i, path in enumerate(self.messages)
    ]

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for process in self.processes:
      process.kill()
      process.wait()

  def stderr(self, process):
    return self.messages[process].read_text(errors="replace")

  def last_step(self):
    """Returns the step of the last metric line, 0 if none was written."""
    try:
      return read_metrics(self.workdir)[-1]["step"]
    except IndexError:
      return 0

  def send_after(self, steps, number, process):
    """Sends a signal to a process after a number of steps."""
    last, done = self.last_step(), 0
    for _ in range(6000):
      # A resumed run first drops the lines after its checkpoint.
      before, last = last, self.last_step()
      done += max(last - before, 0)
      if done >= steps:
        # By then all processes have published their location.
        time.sleep(3)
        self.processes[process].send_signal(number)
        return
      for i, each in enumerate(self.processes):
        assert each.poll() is None, self.stderr(i)
      time.sleep(0.05)
    raise AssertionError("the run made no progress")

  def end(self, process):
    """Waits for a process; returns its exit code and its messages."""
    code = self.processes[process].wait(timeout=EXIT_TIMEOUT)
    return code, self.stderr(process)


def command_of(workdir, num_steps):
  return arguments(
    workdir,
    batch_size=12,
    sampling__batch_size=12,
    num_steps=num_steps,
    log_every=1,
    checkpoint_every=SAVED_EVERY,
    optimizer__schedule="constant",
  )


@pytest.fixture(scope="module")
def stopped_run(tmp_path_factory):
  """The workdir, exit codes and messages, and the last saved steps and line."""
  workdir = tmp_path_factory.mktemp("stopped_run")
  with Group(workdir, 2) as group:
    group.send_after(5, signal.SIGTERM, 1)
    ends = [group.end(i) for i in (0, 1)]
  last_line = read_metrics(workdir)[-1]["step"]
  return workdir, ends, saved_steps(workdir), last_line


@pytest.fixture(scope="module")
def run_with_lost_worker(stopped_run):
  """The same run on three processes: exit codes and messages."""
  workdir, _, _, last_line = stopped_run
  # An incomplete checkpoint, as an interrupted copy leaves it.
  (workdir / "checkpoints" / f"{last_line + 1}").mkdir()
  with Group(workdir, 3) as group:
    group.send_after(SAVED_EVERY + 2, signal.SIGKILL, 2)
    return [group.end(i) for i in range(3)]


@pytest.fixture(scope="module")
def run_with_stuck_worker(stopped_run, run_with_lost_worker):
  """The same run on two processes: exit code and message of the other."""
  with Group(stopped_run[0], 2) as group:
    group.send_after(2, signal.SIGSTOP, 1)
    return group.end(0)


@pytest.fixture(scope="module")
def run_with_lost_coordinator(stopped_run, run_with_stuck_worker):
  """The same run on two processes: exit code and message of the other."""
  with Group(stopped_run[0], 2) as group:
    group.send_after(2, signal.SIGKILL, 0)
    return group.end(1)


def test_a_signal_to_one_stops_all_at_the_same_step(stopped_run):
  _, ends, saved, last_line = stopped_run
  (code, stderr), (other_code, other_stderr) = ends
  assert code == other_code == 75, stderr + other_stderr
  ending = re.fullmatch(
    r"Stopped: train after step (\d+) of 4000, saved; run the same command "
    "again to resume",
    stderr.splitlines()[-1],
  )
  assert saved[-1] == last_line == int(ending[1])
  assert "Stopped" not in other_stderr


def test_the_others_of_a_killed_worker_end(run_with_lost_worker):
  *others, (killed, _) = run_with_lost_worker
  assert killed == -signal.SIGKILL
  for code, stderr in others:
    assert code == 76, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("Failed: process 2 is lost: no heartbeat"), stderr
    assert last.endswith("; run the same command on all processes to resume")
    assert re.search(r"it was last at: train, step \d+", stderr)


def test_an_incomplete_checkpoint_is_renamed_by_all(
  stopped_run, run_with_lost_worker
):
  workdir, _, _, step = stopped_run
  assert (workdir / "checkpoints" / f"{step + 1}.damaged").is_dir()
  for _, stderr in run_with_lost_worker:
    assert f"Skipping damaged checkpoint {step + 1}" in stderr
    assert f"resuming after step {step}\n" in stderr


def test_the_others_of_a_killed_coordinator_end(run_with_lost_coordinator):
  code, _ = run_with_lost_coordinator
  # JAX's runtime may detect it first.
  assert code in (76, -signal.SIGABRT)


def test_a_stopped_process_is_reported(run_with_stuck_worker):
  code, stderr = run_with_stuck_worker
  assert code == 76, stderr
  assert "process 1 is lost: no heartbeat" in stderr
  assert re.search(r"it was last at: train, step \d+", stderr)


def test_no_step_is_lost_or_repeated(stopped_run, run_with_lost_coordinator):
  """Restarted on 2, 3, 2 and 2 processes, then on one."""
  workdir = stopped_run[0]
  last, whole = saved_steps(workdir)[-1] + 5, workdir.parent / "whole"
  for each in (workdir, whole):
    done = run_main(*command_of(each, last), timeout=600)
    assert done.returncode == 0, done.stderr
  ours, theirs = read_metrics(workdir), read_metrics(whole)
  assert [r["step"] for r in ours] == list(range(1, last + 1))
  np.testing.assert_allclose(
    [r["loss"] for r in ours], [r["loss"] for r in theirs], rtol=1e-4
  )
