"""Joining processes: flags, Slurm, and folders that are not shared."""

import pytest

from get_jax.cli import launch
from get_jax.errors import UsageError

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


def test_slurm_gives_the_number_of_processes(monkeypatch):
  assert launch._cluster_size() == 1
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)
  assert launch._cluster_size() == 4
  assert launch._local_devices() == list(range(8))
  monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "8(x4)")
  assert launch._local_devices() is None
  monkeypatch.setenv("SLURM_NTASKS", "1")
  assert launch._cluster_size() == 1


@pytest.mark.parametrize("num_processes", (None, 1))
def test_one_process_needs_no_coordinator(monkeypatch, num_processes, tmp_path):
  if num_processes:
    for name, value in SLURM.items():
      monkeypatch.setenv(name, value)
  entered = False
  with launch.join_processes(
    "train", None, num_processes, None, 900.0, str(tmp_path)
  ):
    entered = True
  assert entered


def test_a_folder_that_others_do_not_see_is_refused(monkeypatch, tmp_path):
  monkeypatch.setattr(launch.processes, "allgather", lambda word: [word, ""])
  with pytest.raises(UsageError, match="process 1 does not see what process 0"):
    launch._check_shared(tmp_path)
  assert not list(tmp_path.iterdir())
