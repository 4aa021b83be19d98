"""A run resumed after kill -9 is bit-identical to an uninterrupted one."""

import json
import re
import signal
import time

import jax
import numpy as np
import pytest

from get_jax.training.checkpoints import latest_step
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import PERFORMANCE_KEYS
from tests.helpers import arguments, run_main, start_main


def checkpoint_arrays(workdir):
  """Every stored array of the last checkpoint."""
  import orbax.checkpoint as ocp

  step = latest_step(workdir)
  restored = {}
  for item in ("params", "ema", "training"):
    folder = workdir / "checkpoints" / str(step) / item
    with ocp.PyTreeCheckpointer() as checkpointer:
      meta = checkpointer.metadata(folder).item_metadata.tree
      as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), meta
      )
      restored[item] = checkpointer.restore(folder, restore_args=as_numpy)
  return step, jax.tree.leaves(restored)


def lines(workdir):
  return [
    {k: v for k, v in record.items() if k not in PERFORMANCE_KEYS}
    for record in read_metrics(workdir)
  ]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("whole")
  done = run_main(*arguments(workdir))
  assert done.returncode == 0, done.stderr
  return workdir


def assert_same_run(one, other):
  step, arrays = checkpoint_arrays(one)
  other_step, other_arrays = checkpoint_arrays(other)
  assert step == other_step == 40
  assert len(arrays) == len(other_arrays) > 20
  for a, b in zip(arrays, other_arrays, strict=True):
    np.testing.assert_array_equal(a, b)
  assert lines(one) == lines(other)
  assert [r["step"] for r in lines(one)] == list(range(4, 41, 4))


def start(workdir):
  return start_main(*arguments(workdir, checkpoint_every=7))


def wait_for_step(workdir, process, step):
  """Waits until the metrics or the checkpoints show that `step` is reached."""
  for _ in range(12_000):
    if any(r["step"] >= step for r in read_metrics(workdir)):
      return
    if (latest_step(workdir) or 0) >= step or process.poll() is not None:
      return
    time.sleep(0.01)
  raise AssertionError("the run did not make progress")


def test_kill_and_resume_is_bitwise(uninterrupted, tmp_path):
  process = start(tmp_path)
  wait_for_step(tmp_path, process, 14)
  process.kill()
  process.wait()
  assert process.returncode == -signal.SIGKILL
  # Remains of a process that was killed while it was saving.
  (tmp_path / "checkpoints" / "35.orbax-checkpoint-tmp-1").mkdir()
  (tmp_path / "checkpoints" / "36").mkdir()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 39, "lo')
  done = run_main(*arguments(tmp_path))
  assert done.returncode == 0, done.stderr
  assert "Removing incomplete checkpoint 35" in done.stderr
  assert "Skipping damaged checkpoint 36" in done.stderr
  assert "resuming after step" in done.stderr
  assert_same_run(uninterrupted, tmp_path)


def test_sigterm_saves_and_exits_with_75(uninterrupted, tmp_path):
  process = start(tmp_path)
  wait_for_step(tmp_path, process, 7)
  process.send_signal(signal.SIGTERM)
  _, stderr = process.communicate(timeout=120)
  assert process.returncode == 75, stderr
  assert re.fullmatch(
    r"Stopped: train after step \d+ of 40, saved; run the same command again "
    "to resume",
    stderr.splitlines()[-1],
  )
  done = run_main(*arguments(tmp_path))
  assert done.returncode == 0, done.stderr
  assert_same_run(uninterrupted, tmp_path)


def test_a_finished_run_is_unchanged(uninterrupted):
  before = (uninterrupted / "metrics.jsonl").read_bytes()
  done = run_main(*arguments(uninterrupted))
  assert done.returncode == 0
  assert "40 steps are already in" in done.stdout
  assert (uninterrupted / "metrics.jsonl").read_bytes() == before


def test_another_experiment_is_refused(uninterrupted):
  done = run_main(*arguments(uninterrupted, model__depth=2, batch_size=32))
  assert done.returncode == 2
  assert "belongs to another experiment" in done.stderr
  assert "model.depth (1 there, 2 now)" in done.stderr
  assert "batch_size (16 there, 32 now)" in done.stderr
  assert "Traceback" not in done.stderr


def test_samples_of_a_run(uninterrupted):
  done = run_main(*arguments(uninterrupted), "--mode=sample")
  assert done.returncode == 0, done.stderr
  with np.load(uninterrupted / "samples" / "samples.npz") as samples:
    assert samples["arr_0"].shape == (16, 8, 8, 1)
    assert samples["arr_0"].dtype == np.uint8
    assert samples["arr_1"].max() < 10
  protocol = json.loads((uninterrupted / "results" / "sample.json").read_text())
  assert protocol["evaluations"] == 5


def test_scores_of_a_run(uninterrupted):
  done = run_main(*arguments(uninterrupted), "--mode=evaluate")
  assert done.returncode == 0, done.stderr
  results = json.loads(
    (uninterrupted / "results" / "evaluate.json").read_text()
  )
  assert results["scores"]["fid[digits-v1]"] > 0
  assert results["protocol"]["samples"] == 64
  assert "fid[digits-v1]" in done.stdout
