"""Optimizers and EMA schedules of the papers' recipes, step by step."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import edm_cifar10_vp, edm_imagenet64, uvit_s2_cifar10
from get_jax.errors import UsageError
from get_jax.training.ema import create_ema
from get_jax.training.optimizer import create_optimizer, learning_rate


@pytest.mark.parametrize("module", [edm_cifar10_vp, edm_imagenet64])
def test_edm_warms_up_over_ten_million_images(module):
  config = module.get_config()
  rate = learning_rate(config.optimizer, config.num_steps)
  peak = config.optimizer.learning_rate
  for step in (0, 1, 1000, 2441, 2442, 19_531, 19_532, 200_000):
    images = step * config.batch_size
    expected = peak * min(images / 10e6, 1)
    np.testing.assert_allclose(rate(step), expected, rtol=1e-5, atol=1e-12)
  assert float(rate(0)) == 0


def test_edm_ema_copies_first_and_then_slows_down():
  config = edm_cifar10_vp.get_config()
  decay = create_ema(config.ema, config.batch_size)
  assert float(decay(jnp.int32(0))) == 0
  for step in (1, 100, 19_531, 100_000):
    half_life = min(0.5e6, 0.05 * step * 512)
    expected = 0.5 ** (512 / half_life)
    np.testing.assert_allclose(decay(jnp.int32(step)), expected, rtol=1e-5)


def test_uvit_first_step_has_rate_zero_and_decays_every_weight():
  config = uvit_s2_cifar10.get_config()
  optimizer = create_optimizer(config.optimizer, config.num_steps)
  params = {"pos_embed": jnp.ones(2), "bias": jnp.ones(2)}
  zeros = {"pos_embed": jnp.zeros(2), "bias": jnp.zeros(2)}
  state = optimizer.init(params)
  updates, state = optimizer.update(zeros, state, params)
  assert not updates["bias"].any()
  updates, state = optimizer.update(zeros, state, params)
  for name in params:
    expected = -2e-4 / 2500 * 0.03
    np.testing.assert_allclose(updates[name], expected, rtol=1e-5)


def test_a_loss_times_100_is_adam_with_an_eps_over_100():
  config = edm_imagenet64.get_config().optimizer
  config.warmup_steps = 0.0
  small = {"w": jnp.array([1e-9, 3e-8, 1e-6, 1e-2])}
  official = config.copy_and_resolve_references()
  official.eps = 1e-8
  updates = []
  for section, factor in ((config, 1), (official, 100), (official, 1)):
    optimizer = create_optimizer(section, 10)
    given = {"w": factor * small["w"]}
    updates.append(optimizer.update(given, optimizer.init(given), given)[0])
  found, scaled, plain = (update["w"] for update in updates)
  np.testing.assert_allclose(found, scaled, rtol=1e-4)
  assert (np.abs(found / plain)[:2] > 1.2).all()


def test_nonfinite_gradients_are_replaced_if_configured():
  config = edm_cifar10_vp.get_config().optimizer
  gradient = {"w": jnp.array([np.nan, np.inf, -np.inf, 2.0])}
  plain = {"w": jnp.array([0.0, 1e5, -1e5, 2.0])}
  config.warmup_steps = 0.0
  updates = []
  for given in (gradient, plain):
    optimizer = create_optimizer(config, 10)
    found, _ = optimizer.update(given, optimizer.init(given), given)
    updates.append(found["w"])
  assert np.isfinite(updates[0]).all()
  np.testing.assert_array_equal(*updates)
  config.nonfinite = "ignore"
  with pytest.raises(UsageError, match="expected one of: stop, skip, replace"):
    create_optimizer(config, 10)
  config.nonfinite = "stop"
  optimizer = create_optimizer(config, 10)
  found, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
  assert not np.isfinite(optax.tree.norm(found))


def test_rectified_adam():
  """The formulas of Liu et al. (2020), Algorithm 2."""
  config = edm_cifar10_vp.get_config().optimizer
  config.update(warmup_steps=0.0, nonfinite="stop")
  config.rectified = True
  optimizer = create_optimizer(config, 10)
  gradients = np.random.default_rng(0).normal(size=(8, 3))
  params = {"w": jnp.zeros(3)}
  state, m, v = optimizer.init(params), np.zeros(3), np.zeros(3)
  longest = 2 / (1 - config.b2) - 1
  for t, g in enumerate(gradients, 1):
    updates, state = optimizer.update({"w": jnp.float32(g)}, state, params)
    m = config.b1 * m + (1 - config.b1) * g
    v = config.b2 * v + (1 - config.b2) * g**2
    power = config.b2**t
    length = longest - 2 * t * power / (1 - power)
    step = m / (1 - config.b1**t)
    if length > 5:
      part = (length - 4) * (length - 2) * longest
      whole = (longest - 4) * (longest - 2) * length
      root = np.sqrt(v / (1 - power)) + config.eps
      step = np.sqrt(part / whole) * step / root
    expected = -config.learning_rate * step
    # `length` is a small difference of large float32 numbers in Optax.
    np.testing.assert_allclose(updates["w"], expected, rtol=0.02)
