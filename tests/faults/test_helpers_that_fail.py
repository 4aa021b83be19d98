"""Threads and processes that help a run fail: one sentence, and nothing lost.

The writer of checkpoints, a thread of Orbax, is disturbed by
`test_disturbed_calls.py`.
"""

import errno
import multiprocessing
import os
import pathlib
import signal

import numpy as np
import pytest

from get_jax.cli.exit import exit_on_error
from get_jax.data import Pipeline, create_source
from get_jax.errors import UsageError
from get_jax.training.metrics import create_writer, read_metrics
from get_jax.training.tensorboard import TensorBoardWriter
from tests.faults.test_surroundings import Batches, train


def losses(workdir):
  return [(line["step"], line["loss"]) for line in read_metrics(workdir)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The losses of a run without a failure."""
  workdir = tmp_path_factory.mktemp("whole")
  train(workdir, Batches())
  return losses(workdir)


@pytest.mark.parametrize("name", ["write_scalars", "flush", "close"])
def test_a_metric_writer_that_fails(name, whole, tmp_path, monkeypatch, capsys):
  original, calls = getattr(TensorBoardWriter, name), []

  def fail(self, *args):
    calls.append(name)
    if name != "write_scalars" or len(calls) == 3:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "events")
    original(self, *args)

  with monkeypatch.context() as patch:
    patch.setattr(TensorBoardWriter, name, fail)
    with pytest.raises(SystemExit, match="2"), exit_on_error():
      train(tmp_path / "run", Batches())
  assert calls
  said = capsys.readouterr().err
  assert "Failed: " in said.splitlines()[-1]
  assert "No space left on device" in said.splitlines()[-1]
  assert "Traceback" not in said
  assert int(train(tmp_path / "run", Batches()).step) == 6
  assert losses(tmp_path / "run") == whole


def test_the_other_writers_are_closed(tmp_path, monkeypatch):
  writer = create_writer(tmp_path, 0)
  monkeypatch.setattr(writer.writers[0], "flush", lambda: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    writer.close()
  assert writer.writers[1]._writer._py_recordio_writer._writer.closed


def test_events_of_one_second_are_in_several_files(tmp_path):
  for step in range(3):
    writer = TensorBoardWriter(tmp_path)
    writer.write_scalars(step, {"loss": 1.0})
    writer.close()
  assert len([*tmp_path.iterdir()]) == 3


def test_a_killed_worker_process(tmp_path):
  source = create_source(
    "synthetic", image_size=8, channels=3, num_classes=3, size=20
  )
  here = Pipeline(source, 4, seed=0)
  batches = Pipeline(source, 4, seed=0, workers=1).batches(3, 10**6)
  for step in (3, 4):
    batch = next(batches)
    np.testing.assert_array_equal(batch["image"], here.batch(step)["image"])
    # Nothing is left of its shared memory if the program ends here.
    assert not pathlib.Path("/dev/shm", batch["image"].shm.name).exists()
  (worker,) = multiprocessing.active_children()
  os.kill(worker.pid, signal.SIGKILL)
  expected = r"has ended with exit code -9 .*loader\.workers=1"
  with pytest.raises(UsageError, match=expected):
    for _ in batches:  # those that were read ahead
      pass
  assert not multiprocessing.active_children()
