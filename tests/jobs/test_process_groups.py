"""Several processes on this machine compute the same as one."""

import json
import os
import re
import socket
import sys

import jax
import numpy as np
import pytest

from get_jax.training.checkpoints import load_params
from get_jax.training.metrics import read_metrics
from tests import fork_server
from tests.helpers import environment

SEGMENTS = ((0, 40), (40, 80), (80, 113))  # of 3 epochs


def free_job():
  """Returns the id of a Slurm job for which JAX takes a free port."""
  # Another process of the tests may look for one at the same time.
  for job in range(os.getpid() % 2048, 4096):
    with socket.socket() as listener:
      try:
        listener.bind(("127.0.0.1", 2**16 - 2**12 + job))
        return job
      except OSError:
        pass
  raise AssertionError("no port is free")


def slurm(process, count, job):
  """Returns the variables that Slurm gives a task on its own node."""
  return {
    "SLURM_JOB_ID": str(job),
    "SLURM_STEP_NODELIST": "127.0.0.1",
    "SLURM_STEP_TASKS_PER_NODE": f"1(x{count})",
    "SLURM_NTASKS": str(count),
    "SLURM_PROCID": str(process),
    "SLURM_LOCALID": "0",
  }


def run_group(count, jobs):
  """Returns the output of each process."""
  command = [sys.executable, "-m", "tests.jobs.process_worker"]
  job = free_job()
  processes = [
    fork_server.Process(
      [*command, json.dumps(jobs)],
      environment(devices=2) | slurm(i, count, job),
      None,
      None,
    )
    for i in range(count)
  ]
  outputs = [process.communicate(timeout=1800) for process in processes]
  for process, (_, stderr) in zip(processes, outputs, strict=True):
    assert process.returncode == 0, stderr
  return [stdout for stdout, _ in outputs]


def every_batch():
  return [["hashes", *segment] for segment in SEGMENTS]


def digests(output):
  found = dict(re.findall(r"step (\d+): (\w{64})", output))
  assert list(found) == [str(step) for step in range(113)]
  return found


@pytest.fixture(scope="module")
def autoencoder(tiny_autoencoder):
  return str(tiny_autoencoder(latent_channels=2)[0])


@pytest.fixture(scope="module")
def one(tmp_path_factory, autoencoder):
  """One process with two devices: its folder and output."""
  folder = tmp_path_factory.mktemp("one")
  jobs = [
    ["job", f"{folder}/job", True, None],
    ["again", f"{folder}/job", f"{folder}/again"],
    ["latents", str(folder), autoencoder],
    *every_batch(),
  ]
  return folder, run_group(1, jobs)[0]


@pytest.fixture(scope="module")
def two(tmp_path_factory, autoencoder, one):
  """Two slices of a process; samples use the parameters that one trained."""
  folder = tmp_path_factory.mktemp("two")
  jobs = [
    ["job", f"{folder}/job", True, 2],
    ["resume", f"{folder}/job", f"{folder}/resumed", 2],
    ["again", f"{one[0]}/job", f"{folder}/again"],
    ["latents", str(folder), autoencoder],
    *every_batch(),
  ]
  return folder, run_group(2, jobs)


@pytest.fixture(scope="module")
def four(tmp_path_factory, one):
  """Two slices of two processes; they resume `one` after half its steps."""
  folder = tmp_path_factory.mktemp("four")
  jobs = [
    ["resume", f"{one[0]}/job", f"{folder}/job", 2],
    ["again", f"{one[0]}/job", f"{folder}/again"],
    *every_batch(),
  ]
  return folder, run_group(4, jobs)


def same_files(one, other, pattern):
  names = sorted(path.name for path in one.glob(pattern))
  assert names == sorted(path.name for path in other.glob(pattern))
  assert len(names) >= 3
  for name in names:
    assert (one / name).read_bytes() == (other / name).read_bytes(), name


def same_losses(one, other):
  ours, theirs = read_metrics(one), read_metrics(other)
  assert [r["step"] for r in ours] == list(range(1, 9))
  assert [r["step"] for r in theirs] == list(range(1, 9))
  np.testing.assert_allclose(
    [r["loss"] for r in theirs], [r["loss"] for r in ours], rtol=1e-5
  )


def scores(folder, name):
  found = json.loads((folder / "results" / f"{name}.json").read_text("utf-8"))
  return found["scores"] if name == "evaluate" else found["GET"]["scores"]


def same_generation(one, other):
  """Pairs, samples and scores of the same parameters."""
  same_files(one / "pairs", other / "pairs", "0*")
  with (
    np.load(one / "samples" / "samples.npz") as ours,
    np.load(other / "samples" / "samples.npz") as theirs,
  ):
    assert len(ours["arr_0"]) == 100
    for name in ("arr_0", "arr_1"):
      np.testing.assert_array_equal(ours[name], theirs[name])
  assert not list(other.glob("samples/parts-*"))
  assert scores(one, "evaluate") == scores(other, "evaluate")


def test_two_processes_train_as_one(one, two):
  folder, (first, second) = two
  same_losses(one[0] / "job" / "teacher", folder / "job" / "teacher")
  same_losses(one[0] / "job", folder / "job")
  assert (folder / "job" / "teacher" / "samples" / "00000008.png").is_file()
  ours, theirs = (scores(f / "job", "report") for f in (one[0], folder))
  assert ours.keys() == theirs.keys()
  for name, score in ours.items():
    np.testing.assert_allclose(theirs[name], score, rtol=1e-3)
  assert "Quality" in first
  assert "Quality" not in second


def test_two_processes_resume_bit_for_bit(two):
  folder, _ = two
  whole, resumed = folder / "job", folder / "resumed"
  lines = [
    [(r["step"], r["loss"], r["grad_norm"]) for r in read_metrics(each)]
    for each in (whole, resumed)
  ]
  assert lines[0] == lines[1]
  assert [step for step, *_ in lines[0]] == list(range(1, 9))
  # The manifest has a digest of each array of the state.
  manifests = [
    (each / "checkpoints" / "8" / "manifest" / "metadata").read_text()
    for each in (whole, resumed)
  ]
  assert manifests[0] == manifests[1]
  for array, other in zip(
    jax.tree.leaves(load_params(whole)),
    jax.tree.leaves(load_params(resumed)),
    strict=True,
  ):
    np.testing.assert_array_equal(array, other)


def test_slices_are_an_axis_of_the_mesh(two, four):
  for folder, data in ((two[0], 2), (four[0], 4)):
    info = json.loads((folder / "job" / "results" / "train.json").read_text())
    assert info["mesh"] == dict(replica=2, data=data, fsdp=1, tensor=1)


def test_two_processes_generate_as_one(one, two):
  same_generation(one[0] / "again", two[0] / "again")
  same_files(one[0] / "latents", two[0] / "latents", "0*")


def test_four_processes_resume_where_one_stopped(one, four):
  folder, _ = four
  same_losses(one[0] / "job", folder / "job")
  same_generation(one[0] / "again", folder / "again")


def test_global_batches_are_the_same(one, two, four):
  expected = digests(one[1])
  assert len(set(expected.values())) == 113
  assert digests(two[1][0]) == expected
  assert digests(four[1][0]) == expected
