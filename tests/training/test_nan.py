"""A non-finite loss or gradient stops the run and is never saved."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from get_jax.data import Pipeline
from get_jax.data.sources import ArraySource
from get_jax.training.checkpoints import latest_step
from get_jax.training.loop import Schedule, fit
from get_jax.training.sharding import make_mesh
from get_jax.training.state import create_state, make_init_state
from get_jax.training.step import make_train_step


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_stops_with_step_and_last_good_checkpoint(tmp_path, where):
  mesh = make_mesh((1, 1, 1), jax.devices()[:1])

  def loss(params, batch, key):
    del key
    # w grows by 0.1 per step. Beyond 0.75 the logarithm is NaN, and the
    # gradient of the square root at the lower bound 0 is infinite.
    rest = 0.75 - params["w"]
    bad = jnp.log(rest) if where == "loss" else jnp.sqrt(jnp.maximum(rest, 0))
    return 0 * bad - params["w"] * batch["image"].mean(), {}

  source = ArraySource({"image": np.ones((4, 1), np.float32)}, None, "ones")
  optimizer = optax.sgd(0.1)
  make = make_init_state(lambda key: {"w": jnp.zeros(())}, (), optimizer)
  state = create_state(make, jax.random.key(0), mesh)
  step = make_train_step(
    loss,
    optimizer,
    lambda step: jnp.float32(0.5),
    jax.random.key(0),
    log_every=2,
  )
  schedule = Schedule(20, log_every=2, checkpoint_every=3)
  pipeline = Pipeline(source, 4, 0)
  with pytest.raises(FloatingPointError, match="at step 8; .* is 6 in"):
    fit(tmp_path, state, step, pipeline, mesh, schedule)
  assert latest_step(tmp_path) == 6
