"""Joining processes: flags, Slurm, and folders that are not shared."""

import subprocess
import sys

import jax
import pytest

from get_jax.cli import launch
from get_jax.errors import UsageError
from get_jax.training import processes
from tests.helpers import ROOT, environment

SLURM = {
  "SLURM_JOB_ID": "77",
  "SLURM_STEP_NODELIST": "node[3-6]",
  "SLURM_NTASKS": "4",
  "SLURM_PROCID": "2",
  "SLURM_LOCALID": "0",
  "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
  "SLURM_GPUS_ON_NODE": "8",
}

REFUSED = {
  "--coordinator is given without --num_processes; expected both": (
    "train",
    "host:1234",
    None,
    1,
  ),
  "--process_id is given without --coordinator; expected both": (
    "train",
    None,
    None,
    0,
  ),
  "--num_processes is given without --coordinator; expected both": (
    "train",
    None,
    2,
    None,
  ),
  "--coordinator is 'host'; expected HOST:PORT": ("train", "host", 2, 0),
  "--process_id is 2; expected less than --num_processes=2": (
    "train",
    "host:1234",
    2,
    2,
  ),
  "--mode=convert runs in one process; found 2": (
    "convert",
    "host:1234",
    2,
    0,
  ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_contradictory_flags_are_refused(sentence, tmp_path):
  with pytest.raises(UsageError) as refused:
    with launch.join_processes(*REFUSED[sentence], 900.0, str(tmp_path)):
      raise AssertionError("the flags were accepted")
  assert str(refused.value) == sentence


@pytest.fixture
def initialized(monkeypatch):
  """Replaces the start of JAX's distributed system; returns its arguments."""
  calls = []
  monkeypatch.setattr(
    jax.distributed, "initialize", lambda **options: calls.append(options)
  )
  return calls


def join(tmp_path, num_processes=None):
  with launch.join_processes(
    "train", None, num_processes, None, 900.0, str(tmp_path)
  ):
    assert processes.process_group() is None
    return True


def test_all_gpus_belong_to_the_only_task_of_a_node(
  monkeypatch, initialized, tmp_path
):
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)
  assert join(tmp_path)
  monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "8(x4)")
  assert join(tmp_path)
  devices = [options["local_device_ids"] for options in initialized]
  assert devices == [list(range(8)), None]


@pytest.mark.parametrize("alone", ["--num_processes=1", "one task"])
def test_one_process_needs_no_coordinator(
  monkeypatch, initialized, tmp_path, alone
):
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)
  if alone == "one task":
    monkeypatch.setenv("SLURM_NTASKS", "1")
  assert join(tmp_path, 1 if alone == "--num_processes=1" else None)
  assert not initialized


def test_without_a_cluster_a_process_runs_alone(tmp_path):
  """In a new process, because JAX's devices must not be in use yet."""
  code = f"""
from get_jax.cli import launch
from get_jax.training import processes
with launch.join_processes("train", None, None, None, 9.0, {str(tmp_path)!r}):
  print(processes.process_group())
"""
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout == "None\n"


def test_a_cluster_that_does_not_answer_is_one_sentence(monkeypatch, tmp_path):
  def fail(**options):
    raise RuntimeError("DEADLINE_EXCEEDED:\n timed out")

  monkeypatch.setattr(jax.distributed, "initialize", fail)
  with pytest.raises(UsageError, match="cluster .DEADLINE_EXCEEDED: timed out"):
    join(tmp_path)


def test_a_folder_that_others_do_not_see_is_refused(monkeypatch, tmp_path):
  monkeypatch.setattr(launch.processes, "allgather", lambda word: [word, ""])
  with pytest.raises(UsageError, match="process 1 does not see what process 0"):
    launch._check_shared(tmp_path)
  assert not list(tmp_path.iterdir())
