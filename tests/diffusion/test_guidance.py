import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.diffusion import Guidance, create_process
from get_jax.diffusion.guidance import check_labels
from get_jax.errors import UsageError

X = jnp.ones((3, 2, 2, 4))
T = jnp.array([0.0, 250.0, 999.0])
Y = jnp.array([0, 1, 2])
NULL = 9


def net(x, t, y):
  """Six channels: four that are guided and two of a variance."""
  out = x * (1 + y[:, None, None, None]) + t[:, None, None, None]
  return jnp.concatenate([out, out[..., :2]], axis=-1)


def test_only_the_leading_channels_are_guided():
  cond, uncond = net(X, T, Y), net(X, T, jnp.full(3, NULL))
  for channels in (3, None):
    out = Guidance(scale=4.0, channels=channels)(net, Y, NULL)(X, T)
    k = 4 if channels is None else channels
    pushed = uncond + 4.0 * (cond - uncond)
    np.testing.assert_allclose(out[..., :k], pushed[..., :k], rtol=1e-6)
    np.testing.assert_array_equal(out[..., k:], cond[..., k:])


def test_convention_of_u_vit():
  by_w = Guidance(scale=1.4)(net, Y, NULL)(X, T)
  by_s = Guidance(scale=0.4, convention="u-vit")(net, Y, NULL)(X, T)
  np.testing.assert_allclose(by_s, by_w, rtol=1e-6)


def test_no_guidance_is_one_evaluation_of_the_batch_itself():
  sizes = []

  def counting(x, t, y):
    sizes.append((len(x), None if y is None else len(y)))
    return x

  Guidance()(counting, Y, None)(X, T)
  Guidance(scale=0.0, convention="u-vit")(counting, None, None)(X, T)
  Guidance(scale=0.0)(counting, Y, NULL)(X, T)
  assert sizes == [(3, 3), (3, None), (6, 6)]


@pytest.mark.parametrize(
  "settings, guided_times",
  [
    (dict(interval=(0.1, 0.9)), [1]),
    (dict(schedule="power_cosine", period=1000.0), [0, 1]),
  ],
)
def test_times_without_guidance_evaluate_the_batch_itself(
  settings, guided_times
):
  """Also inside a loop, where the times are not known when it is traced."""
  sizes = []

  def counting(x, t, y):
    jax.debug.callback(sizes.append, len(x))
    return net(x, t, y)

  def sigma_of(t):
    return 1 / (1 + jnp.exp((t - 500) / 100))

  t_of_step = jnp.array([0.0, 500.0, 990.0])
  guidance = Guidance(scale=3.0, **settings)
  guided = guidance(counting, Y, NULL, sigma_of)

  @jax.jit
  def run(times):
    return jax.lax.map(lambda t: guided(X, jnp.full(3, t)), times)

  outs = run(t_of_step)
  jax.effects_barrier()
  expected_sizes = [6 if i in guided_times else 3 for i in range(3)]
  assert sizes == expected_sizes
  for i, t in enumerate(t_of_step):
    t = jnp.full(3, t)
    cond, uncond = net(X, t, Y), net(X, t, jnp.full(3, NULL))
    w = guidance.weight(t, sigma_of)[0] if i in guided_times else 1
    expected = uncond + w * (cond - uncond)
    np.testing.assert_allclose(outs[i][..., :4], expected[..., :4], rtol=1e-6)
    if i not in guided_times:
      np.testing.assert_array_equal(outs[i], cond)


def test_null_text_is_the_embedding_of_the_empty_text():
  text = jnp.arange(3 * 5 * 2, dtype=jnp.float32).reshape(3, 5, 2)
  empty = jnp.full((5, 2), -1.0)

  def by_text(x, t, y):
    return x * y.sum((1, 2))[:, None, None, None]

  out = Guidance(scale=2.0)(by_text, text, empty)(X, T)
  expected = 2 * by_text(X, T, text) - by_text(X, T, empty[None])
  np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_interval_is_in_noise_levels():
  process = create_process("edm", time_scale=100.0)
  sigma = jnp.array([0.1, 1.0, 10.0])
  t = 100 * jnp.log(sigma) / 4
  weight = Guidance(scale=3.0, interval=(0.5, 5.0)).weight(t, process.sigma_of)
  np.testing.assert_allclose(weight, [1, 3, 1])


def test_invalid_uses_are_one_sentence():
  with pytest.raises(UsageError, match="needs a null class"):
    Guidance(scale=2.0)(net, Y, None)
  with pytest.raises(UsageError, match="needs labels or text"):
    Guidance(scale=2.0)(net, None, NULL)
  with pytest.raises(UsageError, match="did you mean 'power_cosine'"):
    Guidance(schedule="power_cosin")
  with pytest.raises(UsageError, match="sigma_of"):
    Guidance(scale=2.0, interval=(0, 1))(net, Y, NULL)
  check_labels([0, 9, 10], num_classes=10)
  with pytest.raises(UsageError, match="label 11 is out of range"):
    check_labels([0, 11], num_classes=10)
