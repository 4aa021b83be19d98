"""Training in bfloat16: every family learns, and its state stays float32."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.builders.model import build_model
from get_jax.builders.objective import build_objective
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.training.rng import named_key

# One experiment of each network, smoke-sized.
EXPERIMENTS = (
  "dit_xl2",
  "diffit_imagenet256",
  "diffit_cifar10",
  "uvit_s2_cifar10",
  "edm_cifar10_cond_ve",
  "edm_imagenet64",
  "get_base_cifar10_cond",
  "vit_base_cifar10",
)


@pytest.fixture(scope="module", autouse=True)
def disable_most_optimizations():
  """Each program here runs once or twice, so compilation dominates."""
  option = "jax_disable_most_optimizations"
  jax.config.update(option, True)
  yield
  jax.config.update(option, False)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_two_steps_in_bfloat16(name):
  config = importlib.import_module(f"configs.{name}").get_config("smoke")
  config.log_every, config.optimizer.warmup_steps = 100, 0.0
  config.augmentation = {}  # not tested here, and slow to compile
  if name == "edm_cifar10_cond_ve":
    # Two levels, and layers between them; one U-Net is enough.
    config.model.channel_mult, config.model.attn_resolutions = (1, 1), (4,)
  assert config.model.dtype == "float32"
  single = build_model(config)
  config.model.dtype = "bfloat16"
  model = build_model(config)
  rng = np.random.default_rng(0)
  shapes = batch_shapes(config, model)
  batch = {
    key: np.arange(x.shape[0], dtype=np.int32) % 10
    if x.dtype == jnp.int32
    else rng.standard_normal(x.shape, np.float32)
    for key, x in shapes.items()
  }
  training_step = build_training_step(config, model, pairs_seed=0)
  state = jax.eval_shape(training_step.init_state, training_step.init_key)
  # With the published initialization the output is 0 in any precision.
  params = jax.tree.map(
    lambda a: 0.1 * rng.standard_normal(a.shape, np.float32), state.params
  )
  state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), state)
  state = state.replace(params=params, bad_step=np.int32(-1))
  step = jax.jit(training_step.step)
  first, _ = step(state, batch)
  second, bad_step = step(first, batch)

  objective = build_objective(config, single, pairs_seed=0)
  key = jax.random.fold_in(named_key(config.seed, "step"), 0)
  expected = float(jax.jit(objective)(params, batch, key)[0])
  found = float(first.window["loss"])
  assert 0 < abs(found / expected - 1) < 0.02
  assert int(bad_step) == -1
  kept = jax.tree.leaves((second.params, second.ema, second.opt_state))
  kept = [leaf for leaf in kept if leaf.ndim]
  assert {leaf.dtype.name for leaf in kept} == {"float32"}
  assert all(np.isfinite(leaf).all() for leaf in kept)
  moved = jax.tree.map(
    lambda a, b: bool((np.asarray(a) != b).any()), second.params, params
  )
  assert np.mean(jax.tree.leaves(moved)) > 0.9
