"""DiT's block designs, conditioning and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.dit import BLOCKS
from get_jax.models.parameters import abstract_params

TINY = dict(hidden_size=16, depth=2, num_heads=2, num_classes=3)


def tiny(**fields):
  return create_model("DiT", image_size=8, downsample=2, **{**TINY, **fields})


def run(model, params, jit):
  """An output, and the compiled network of times and labels."""
  x = jax.random.normal(jax.random.key(2), model.inputs(2)[0].shape)
  y = jnp.array([1, 3]) if model.num_classes else None
  apply = jit(lambda t, y: model.apply({"params": params}, x, t, y))
  return apply(jnp.array([5.0, 900.0]), y), apply, y


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_depend_on_time_and_label(
  block, random_params, fast_compile_jit
):
  model = tiny(block=block)
  out, apply, y = run(model, random_params(model), fast_compile_jit)
  assert out.shape == (2, 4, 4, 8) and out.dtype == jnp.float32
  assert np.isfinite(out).all()
  later = apply(jnp.array([6.0, 900.0]), y)
  assert np.abs(later - out)[0].max() > 1e-4
  np.testing.assert_array_equal(later[1], out[1])
  other = apply(jnp.array([5.0, 900.0]), jnp.array([2, 3]))
  assert np.abs(other - out)[0].max() > 1e-4


@pytest.mark.parametrize("block", BLOCKS)
def test_unconditional_in_pixels_and_not_square(
  block, random_params, fast_compile_jit
):
  model = create_model(
    "DiT",
    image_size=(8, 4),
    downsample=1,
    in_channels=3,
    learn_sigma=False,
    **{**TINY, "num_classes": 0, "block": block},
  )
  assert model.input_size == (8, 4)
  out, _, _ = run(model, random_params(model), fast_compile_jit)
  assert out.shape == (2, 8, 4, 3)


def test_null_class_is_a_row_of_the_table():
  for null in (False, True):
    params = abstract_params(tiny(null_class=null))
    table = params["label_embed"]["table"]["embedding"]
    assert table.shape == (3 + null, 16)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(block="film"), "block is 'film'; expected one of: adaLN-Zero"),
    (dict(patch_size=3), "4x4; expected positive multiples of patch_size=3"),
    (dict(num_heads=3), "multiple of num_heads=3"),
    (dict(hidden_size=18), "hidden_size is 18; expected a multiple of 4"),
    (dict(remat="dotty", scan=True), "remat is 'dotty'"),
  ],
)
def test_fields_that_do_not_fit(fields, message):
  model = tiny(**fields)
  with pytest.raises(UsageError, match=message):
    params = abstract_params(model)
    jax.eval_shape(
      lambda p, *a: model.apply({"params": p}, *a), params, *model.inputs(1)
    )
