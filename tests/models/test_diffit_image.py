"""Image-space DiffiT: presets, ablations, windows, shapes, dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.diffit_image import STAGE_TIMES
from get_jax.models.parameters import abstract_params
from get_jax.nn import windows

TINY = dict(
  image_size=16,
  widths=(8, 16),
  depths=(1, 2),
  head_dim=8,
  time_features=12,
  time_frequencies=6,
)


def tiny(**fields):
  return create_model("DiffiT-image", **{**TINY, **fields})


def count(model):
  return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(model)))


@pytest.fixture
def run(fast_compile_jit):
  """`run(model, params)(t)`: outputs at two times."""
  return functools.partial(_run, fast_compile_jit)


def _run(jit, model, params, train=False, **call):
  x = jax.random.normal(jax.random.key(2), model.inputs(2)[0].shape)
  y = jnp.array([0, 2]) if model.num_classes else None

  @jit
  def apply(t, y, key):
    return model.apply(
      {"params": params}, x, t, y, train, rngs={"dropout": key}, **call
    )

  return lambda t, y=y, key=0: apply(jnp.array(t), y, jax.random.key(key))


@pytest.mark.parametrize("time", STAGE_TIMES)
def test_all_uses_of_the_time(time, run, random_params):
  model = tiny(time=time)
  apply = run(model, random_params(model, 0.3))
  out = apply([-1.0, 0.5])
  assert out.shape == (2, 16, 16, 3) and out.dtype == jnp.float32
  later = apply([-1.1, 0.5])
  assert np.abs(later - out)[0].max() > 1e-5
  np.testing.assert_array_equal(later[1], out[1])


def test_ablations_by_their_sizes():
  """Counts by hand from the text: CIFAR-10, whole and with single blocks."""

  def size(**fields):
    return count(create_model("DiffiT-CIFAR-10", **fields))

  assert size(skip="add") == 27_947_651
  assert size(widths=(256, 256, 256)) == 38_441_507
  size = functools.partial(size, depths=(1, 1, 1))
  mixed, stage = size(), size(time="stage")
  widths = 2 * 128 + 3 * 256  # channels summed over all blocks
  entries = 49 * widths // 32
  assert mixed - size(head_dim=64) == entries // 2
  token = 512 + 1
  none = stage - widths * token - 5
  assert mixed - none == 3 * widths * token
  assert size(time="separate") - none == widths * token
  assert size(time="position-bias") - none == entries * token
  assert size(time="mlp") - none == 4 * widths * token
  assert stage < size(decoder_time="stage") < mixed
  # 128 more sinusoids for the first layer and the augmentation, and 128
  # frequencies that are stored but not trained.
  assert size(time_embedding="fourier") - mixed == 128 * (512 + 9 + 1)


def test_windows_are_in_row_major_order():
  x = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
  window, grid = windows.window_and_grid(4, 6, 2)
  tokens = windows.window_partition(x, window)
  assert (window, grid, tokens.shape) == ((2, 2), (2, 3), (12, 4, 3))
  np.testing.assert_array_equal(tokens[1].reshape(2, 2, 3), x[0, :2, 2:4])
  np.testing.assert_array_equal(windows.window_merge(tokens, window, grid), x)
  assert windows.window_and_grid(4, 6, 8) == ((4, 6), (1, 1))
  with pytest.raises(UsageError, match="a feature map is 4x6; .*window=4"):
    windows.window_and_grid(4, 6, 4)


def test_images_that_are_not_square(run, random_params):
  model = tiny(image_size=(8, 16), num_classes=2, null_class=True)
  apply = run(model, random_params(model, 0.3))
  out = apply([0.1, 0.2])
  assert out.shape == (2, 8, 16, 3)
  other = apply([0.1, 0.2], jnp.array([1, 2]))
  assert np.abs(other - out)[0].max() > 1e-5
  np.testing.assert_array_equal(other[1], out[1])


def test_other_skips_resampling_and_augmentation(run, random_params):
  model = tiny(skip="add", resample="bilinear", time_embedding="fourier")
  params = random_params(model, 0.3)
  augment_labels = jnp.array([[0.0] * 9, [1.0] * 9])
  out = run(model, params, augment_labels=augment_labels)([0.1, 0.1])
  assert np.isfinite(out).all()


def test_dropout(run, random_params):
  model = tiny(dropout=0.5)
  params = random_params(model, 0.3)
  apply = run(model, params, train=True)
  one, same, other = (apply([0.1, 0.2], key=key) for key in (0, 0, 1))
  np.testing.assert_array_equal(one, same)
  assert np.abs(one - other).max() > 1e-3
  scanned = run(tiny(dropout=0.5, scan=True), params, train=True)
  np.testing.assert_allclose(scanned([0.1, 0.2]), one, atol=1e-4)


def test_the_head_starts_at_zero():
  model = tiny()
  inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
  head = jax.jit(lambda key: model.init(key, *inputs)["params"]["head"])
  assert not any(a.any() for a in jax.tree.leaves(head(jax.random.key(0))))


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(time="late"), "time is 'late'; expected one of: mixed, separate"),
    (dict(decoder_time="x"), "decoder_time is 'x'"),
    (dict(skip="sum"), "skip is 'sum'; expected one of: concat, add"),
    (dict(depths=(1,)), "expected the same number of both"),
    (dict(head_dim=6), "expected multiples of head_dim=6"),
    (dict(image_size=15), "15x15; expected multiples of 2, which 2 stages"),
    (dict(image_size=12, window=5), "12x12; expected multiples of window=5"),
  ],
)
def test_fields_that_do_not_fit(fields, message):
  with pytest.raises(UsageError, match=message):
    abstract_params(tiny(**fields))
