"""How runs of several processes end: stopped, killed, stuck or refused.

One run goes through all of it, and ends as if nothing had happened.
"""

import re
import signal
import subprocess
import time

import numpy as np
import pytest

from get_jax.training.checkpoints import saved_steps
from get_jax.training.metrics import read_metrics
from tests.helpers import (
  ROOT,
  UNOPTIMIZED,
  arguments,
  environment,
  free_port,
  run_main,
)

LAST = 4000
SAVED_EVERY = 20
PATIENCE = 60  # seconds in which the others of a lost process must end


class Group:
  """A run of main.py on several processes; all are killed in the end."""

  def __init__(self, workdir, count):
    command = [
      *command_of(workdir, LAST),
      f"--coordinator=127.0.0.1:{free_port()}",
      f"--num_processes={count}",
    ]
    self.messages = [workdir.parent / f"messages{i}" for i in range(count)]
    self.processes = []
    for i, path in enumerate(self.messages):
      with path.open("w") as file:
        self.processes.append(
          subprocess.Popen(
            [*command, f"--process_id={i}"],
            cwd=ROOT,
            env=environment(devices=2) | UNOPTIMIZED,
            stdout=subprocess.DEVNULL,
            stderr=file,
          )
        )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for process in self.processes:
      process.kill()
      process.wait()

  def told(self, process):
    return self.messages[process].read_text(errors="replace")

  def send_after(self, steps, number, process):
    """A signal to a process, when so many steps are done."""
    for _ in range(6000):
      done = [int(n) for n in re.findall(r" (\d+)/4000 ", self.told(0))]
      if done and done[-1] >= done[0] + steps:
        # All have told where they are.
        time.sleep(3)
        self.processes[process].send_signal(number)
        return
      for i, each in enumerate(self.processes):
        assert each.poll() is None, self.told(i)
      time.sleep(0.05)
    raise AssertionError("the run did not get going")

  def end(self, process):
    """Exit code and messages of a process."""
    code = self.processes[process].wait(timeout=PATIENCE)
    return code, self.told(process)


def command_of(workdir, num_steps):
  return arguments(
    workdir,
    num_steps=num_steps,
    log_every=1,
    checkpoint_every=SAVED_EVERY,
    optimizer__schedule="constant",
  )


@pytest.fixture(scope="module")
def adventure(tmp_path_factory):
  """The folder of the run, and what its processes said."""
  workdir = tmp_path_factory.mktemp("adventure")
  told = {}
  with Group(workdir, 2) as group:
    group.send_after(5, signal.SIGTERM, 1)
    told["stopped"] = [group.end(i) for i in (0, 1)]
    last_line = read_metrics(workdir)[-1]["step"]
    told["saved"] = saved_steps(workdir), last_line
  # Half a checkpoint, as a copy that broke off leaves it.
  (workdir / "checkpoints" / f"{last_line + 1}").mkdir()
  with Group(workdir, 4) as group:
    group.send_after(SAVED_EVERY + 2, signal.SIGKILL, 3)
    told["worker"] = [group.end(i) for i in range(4)]
  with Group(workdir, 2) as group:
    group.send_after(2, signal.SIGSTOP, 1)
    told["stuck"] = group.end(0)
  with Group(workdir, 2) as group:
    group.send_after(2, signal.SIGKILL, 0)
    told["coordinator"] = group.end(1)
  return workdir, told


def test_a_signal_to_one_stops_all_at_the_same_step(adventure):
  _, told = adventure
  (code, stderr), (other_code, other_stderr) = told["stopped"]
  assert code == other_code == 75, stderr + other_stderr
  step = int(re.search(r"stopped after step (\d+) of 4000, saved", stderr)[1])
  saved, last_line = told["saved"]
  assert saved[-1] == last_line == step
  assert "run the same command again" in stderr
  assert "run the same command again" not in other_stderr


def test_the_others_of_a_killed_worker_end(adventure):
  _, told = adventure
  *others, (killed, _) = told["worker"]
  assert killed == -signal.SIGKILL
  for code, stderr in others:
    assert code == 76, stderr
    assert "process 3 is lost: no heartbeat" in stderr
    assert re.search(r"it was last at: train, step \d+", stderr)


def test_half_a_checkpoint_is_put_aside_by_all(adventure):
  workdir, told = adventure
  step = told["saved"][1]
  assert (workdir / "checkpoints" / f"{step + 1}.damaged").is_dir()
  for _, stderr in told["worker"]:
    assert f"Skipping damaged checkpoint {step + 1}" in stderr
    assert f"resuming after step {step}\n" in stderr


def test_the_others_of_a_killed_coordinator_end(adventure):
  _, told = adventure
  code, _ = told["coordinator"]
  # JAX's runtime may be the first to notice.
  assert code in (76, -signal.SIGABRT)


def test_a_stopped_process_is_reported(adventure):
  _, told = adventure
  code, stderr = told["stuck"]
  assert code == 76, stderr
  assert "process 1 is lost: no heartbeat" in stderr
  assert re.search(r"it was last at: train, step \d+", stderr)


def test_nothing_is_lost_or_doubled(adventure):
  """Restarted on 2, 4, 2 and 2 processes, then on one."""
  workdir, _ = adventure
  last, whole = saved_steps(workdir)[-1] + 5, workdir.parent / "whole"
  for each in (workdir, whole):
    done = run_main(*command_of(each, last), timeout=600)
    assert done.returncode == 0, done.stderr
  ours, theirs = read_metrics(workdir), read_metrics(whole)
  assert [r["step"] for r in ours] == list(range(1, last + 1))
  np.testing.assert_allclose(
    [r["loss"] for r in ours], [r["loss"] for r in theirs], rtol=1e-4
  )
