"""Runs in a bucket: killed at any moment, and of two processes."""

import signal
import time

import jax
import numpy as np
import pytest

from get_jax.modes import train
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import latest_step, load_params
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import PERFORMANCE_KEYS
from tests.helpers import arguments, free_port, start_main, tiny_config

STEPS = 24  # kills are at steps 7, 14 and 21


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("whole")
  process = start_main(*arguments(workdir, num_steps=STEPS))
  _, stderr = process.communicate(300)
  assert process.returncode == 0, stderr
  return as_path(workdir)


def result(workdir):
  """Parameters, their average and the metric lines of a run."""
  assert latest_step(workdir) == STEPS
  lines = [
    {k: v for k, v in record.items() if k not in PERFORMANCE_KEYS}
    for record in read_metrics(workdir)
  ]
  assert [line["step"] for line in lines] == list(range(4, STEPS + 1, 4))
  arrays = [load_params(workdir, which) for which in ("ema", "params")]
  return jax.tree.leaves(arrays), lines


def test_a_run_in_a_folder(uninterrupted):
  arrays, _ = result(uninterrupted)
  assert len(arrays) > 20


def test_kill_and_resume_is_bitwise(uninterrupted, bucket_server, bucket):
  """Kills a run while it sends different objects of a bucket."""
  for pattern in (
    "name=.*checkpoints/7/params/.*ocdbt",
    "name=.*checkpoints/14/commit_success",
    "DELETE .*checkpoints/7/",
  ):
    process = start_main(
      *arguments(bucket, num_steps=STEPS, checkpoint_every=7)
    )
    with bucket_server.fault("drop", pattern=pattern) as fault:
      while not fault.hits:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
  process = start_main(*arguments(bucket, num_steps=STEPS))
  _, stderr = process.communicate(300)
  assert process.returncode == 0, stderr
  arrays, lines = result(as_path(bucket))
  expected, expected_lines = result(uninterrupted)
  for a, b in zip(arrays, expected, strict=True):
    np.testing.assert_array_equal(a, b)
  assert lines == expected_lines


def test_two_processes_share_a_workdir(uninterrupted, bucket):
  flags = f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2"
  command = [*arguments(bucket, num_steps=STEPS), *flags]
  processes = [
    start_main(*command, f"--process_id={index}") for index in range(2)
  ]
  for process in processes:
    _, stderr = process.communicate(300)
    assert process.returncode == 0, stderr
  arrays, lines = result(as_path(bucket))
  expected, expected_lines = result(uninterrupted)
  for a, b in zip(arrays, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
  for line, other in zip(lines, expected_lines, strict=True):
    np.testing.assert_allclose(line["loss"], other["loss"], rtol=1e-3)


def test_a_bucket_that_does_not_exist(bucket_server):
  process = start_main(*arguments("gs://no-such-bucket/run"))
  _, stderr = process.communicate(300)
  assert process.returncode == 2
  assert "bucket gs://no-such-bucket does not exist" in stderr
  assert "Traceback" not in stderr
  with pytest.raises(ValueError, match="gs://no-such-bucket does not exist"):
    train.run(tiny_config(), "gs://no-such-bucket/run")
