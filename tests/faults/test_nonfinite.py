"""NaN and infinity in data, loss, gradient or solver stop a run in that step.

They are never saved. With `optimizer.nonfinite="skip"` the run goes on.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain_objective import PlainObjective

from get_jax.equilibrium import Simple, fixed_point
from get_jax.training.checkpoints import latest_step, load_params
from get_jax.training.loop import Schedule, fit
from get_jax.training.metrics import read_metrics
from get_jax.training.sharding import make_mesh
from get_jax.training.state import create_state, make_init_state
from get_jax.training.step import make_train_step

BAD = 8  # the step, from 0, in which a value is not finite


def loss_with(where, last_bad):
  """A loss whose gradient adds 0.1 to w, with a fault in steps 8 to `last`."""

  def loss(params, batch, key):
    del key
    w = params["w"]
    step = batch["step"].mean()
    bad = (step >= BAD) & (step <= last_bad)
    value = -0.1 * w * batch["image"].mean()
    if where == "loss":
      value += 0 * jnp.log(jnp.where(bad, -1.0, 1.0))
    if where == "gradient":  # of a square root at its lower bound
      value += 0 * jnp.sqrt(jnp.maximum(jnp.where(bad, -w, 1 + w), 0))
    if where == "solver":
      shift = jnp.where(bad, jnp.nan, w)
      z0 = jnp.zeros((1, 1))
      solved = fixed_point(_layer, shift, None, z0, solver=Simple(max_steps=3))
      value += 0 * solved.value.sum()
    return value, {}

  return loss


def _layer(shift, x, z):
  del x
  return 0.5 * z + shift


@dataclasses.dataclass
class Batches:
  """Batches with the number of their step; one has a NaN if there are any."""

  nan: bool
  batch_size: int = 4

  def batches(self, start, stop):
    for step in range(start, stop):
      image = np.ones((4, 1), np.float32)
      if self.nan and step == BAD:
        image[2] = np.nan
      yield {"image": image, "step": np.full(4, step, np.float32)}


def train(workdir, where, nonfinite="stop", max_skipped=0, last_bad=BAD):
  mesh = make_mesh((1, 1, 1), jax.devices()[:1])
  optimizer = optax.sgd(1.0)
  make = make_init_state(lambda key: {"w": jnp.zeros(())}, (), optimizer)
  step = make_train_step(
    PlainObjective(loss_with(where, last_bad)),
    optimizer,
    lambda step: jnp.float32(0.5),
    jax.random.key(0),
    log_every=2,
    nonfinite=nonfinite,
  )
  state = create_state(make, jax.random.key(0), mesh)
  schedule = Schedule(20, log_every=2, checkpoint_every=3)
  batches = Batches(where == "data")
  return fit(
    workdir, state, step, batches, mesh, schedule, max_skipped=max_skipped
  )


@pytest.mark.parametrize("where", ["data", "loss", "gradient", "solver"])
def test_a_run_stops_in_the_step_and_keeps_the_last_good_state(tmp_path, where):
  with pytest.raises(FloatingPointError, match="at step 8; .* is 6 in"):
    train(tmp_path, where)
  assert latest_step(tmp_path) == 6
  assert np.isfinite(load_params(tmp_path)["w"])
  assert read_metrics(tmp_path)[-1]["step"] == 8


def test_a_step_is_skipped_if_configured(tmp_path, caplog):
  state = train(tmp_path, "gradient", "skip", 1)
  (record,) = [r for r in caplog.records if r.name.startswith("get_jax")]
  expected = "train: step 8 is skipped: the loss or its gradient is not finite"
  assert record.getMessage() == expected
  assert int(state.step) == 20
  assert int(state.bad_step) == -1
  np.testing.assert_allclose(state.params["w"], 1.9, rtol=1e-5)
  lines = read_metrics(tmp_path)
  # The interval of the skipped step has no mean.
  bad = [line["step"] for line in lines if not np.isfinite(line["grad_norm"])]
  assert bad == [10]


def test_a_run_that_stopped_goes_on_and_skips_the_step(tmp_path):
  whole = train(tmp_path / "whole", "loss", "skip", 1)
  with pytest.raises(FloatingPointError):
    train(tmp_path / "stopped", "loss")
  resumed = train(tmp_path / "stopped", "loss", "skip", 1)
  assert whole.params["w"] == resumed.params["w"]
  assert whole.ema["w"] == resumed.ema["w"]


def test_too_many_skipped_steps_in_a_row_stop_the_run(tmp_path):
  expected = r"at step 10 and the 2 before; the last good checkpoint is 9 in"
  with pytest.raises(FloatingPointError, match=expected):
    train(tmp_path, "loss", "skip", 2, last_bad=20)
  np.testing.assert_allclose(load_params(tmp_path, "params")["w"], 0.8)
