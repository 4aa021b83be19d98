"""A workdir that disappears, and a clock that goes backwards."""

import errno
import itertools
import re
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain_objective import PlainObjective

from get_jax.cli.exit import exit_on_error
from get_jax.storage.disk_errors import describe_disk_error
from get_jax.training.loop import Schedule, fit
from get_jax.training.metrics import read_metrics
from get_jax.training.sharding import make_mesh
from get_jax.training.state import create_state, make_init_state
from get_jax.training.step import make_train_step


class Batches:
  """Batches of ones; `before(step)` is called before each."""

  batch_size = 4

  def __init__(self, before=lambda step: None):
    self.before = before

  def batches(self, start, stop):
    for step in range(start, stop):
      self.before(step)
      yield {"image": np.ones((4, 1), np.float32)}


def train(workdir, batches, num_steps=6):
  mesh = make_mesh((1, 1, 1), jax.devices()[:1])
  optimizer = optax.sgd(1.0)
  make = make_init_state(lambda key: {"w": jnp.zeros(())}, (), optimizer)
  step = make_train_step(
    PlainObjective(
      lambda params, batch, key: (-params["w"] * batch["image"].mean(), {})
    ),
    optimizer,
    lambda step: jnp.float32(0.5),
    jax.random.key(0),
    log_every=1,
  )
  state = create_state(make, jax.random.key(0), mesh)
  return fit(workdir, state, step, batches, mesh, Schedule(num_steps, 1, 2))


def test_a_workdir_that_disappears_is_a_sentence(tmp_path, capsys):
  workdir = tmp_path / "run"

  def remove(step):
    if step == 3:
      workdir.rename(tmp_path / "moved")

  # Either the metrics are missed first, or a checkpoint that is being saved.
  expected = "was removed during the run|does not exist any more"
  with pytest.raises(SystemExit, match="2"), exit_on_error():
    train(workdir, Batches(remove))
  last = capsys.readouterr().err.splitlines()[-1]
  assert re.search(f"^Failed: .*({expected})", last), last
  shutil.rmtree(workdir, ignore_errors=True)
  (tmp_path / "moved").rename(workdir)
  assert int(train(workdir, Batches()).step) == 6
  assert [line["step"] for line in read_metrics(workdir)] == [*range(1, 7)]


def test_errors_of_a_disk_are_told_from_others(tmp_path):
  full = OSError(errno.ENOSPC, "No space left on device", "run/file")
  assert describe_disk_error(full) == "No space left on device (run/file)"
  try:
    raise ValueError("saving failed") from full
  except ValueError as error:
    assert describe_disk_error(error).startswith("No space left on device")
  gone = FileNotFoundError(errno.ENOENT, "", f"{tmp_path}/gone/file")
  assert describe_disk_error(gone) == f"{tmp_path}/gone does not exist any more"
  absent = FileNotFoundError(errno.ENOENT, "", f"{tmp_path}/file")
  assert describe_disk_error(absent) is None
  try:
    raise KeyError("a bug") from gone
  except KeyError as error:
    assert describe_disk_error(error) is None


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch):
  train(tmp_path / "usual", Batches())
  start = time.time()
  seconds = itertools.count()
  monkeypatch.setattr(time, "time", lambda: start - 60 * next(seconds))
  monkeypatch.setattr(
    time, "time_ns", lambda: int(1e9 * (start - 60 * next(seconds)))
  )
  state = train(tmp_path / "backwards", Batches(), 3)
  state = train(tmp_path / "backwards", Batches())
  monkeypatch.undo()
  assert int(state.step) == 6
  losses = [
    [(line["step"], line["loss"]) for line in read_metrics(tmp_path / name)]
    for name in ("usual", "backwards")
  ]
  assert losses[0] == losses[1]
