"""Patches and embeddings of positions, times and labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable, sincos_2d
from get_jax.nn.timestep_embedding import TimestepEmbed, timestep_sinusoid


def test_patches_are_in_row_major_order_with_the_channel_fastest():
  image = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
  patches = patchify(image, 2)
  assert patches.shape == (2, 6, 12)
  np.testing.assert_array_equal(patches[1, 4], image[1, 2:4, 2:4].ravel())
  np.testing.assert_array_equal(unpatchify(patches, (2, 3), 2), image)


def test_an_image_must_be_whole_patches():
  assert patch_grid((4, 6), 2) == (2, 3)
  with pytest.raises(UsageError, match=r"9x9.*patch_size=2"):
    patch_grid(9, 2)


def test_positions_of_a_wide_grid():
  table = sincos_2d((2, 3), 8)
  assert table.shape == (6, 8) and table.dtype == np.float32
  # Token 5 is row 1, column 2: columns fill the first half.
  np.testing.assert_allclose(
    table[5],
    np.r_[
      np.sin([2, 0.02]), np.cos([2, 0.02]), np.sin([1, 0.01]), np.cos([1, 0.01])
    ],
    rtol=1e-6,
  )
  with pytest.raises(UsageError, match="hidden_size is 10"):
    sincos_2d((2, 2), 10)


def test_the_position_table_is_not_trained():
  module = PositionTable((2, 2))
  tokens = jnp.ones((1, 4, 8))
  variables = module.init(jax.random.key(0), tokens)
  grads = jax.grad(lambda v: module.apply(v, tokens).sum())(variables)
  assert not np.any(grads["params"]["pos_table"])


def test_sinusoids_stay_float32():
  t = jnp.array([0.0, 999.0, 0.25])
  assert timestep_sinusoid(t.astype(jnp.bfloat16), 8).dtype == jnp.float32
  np.testing.assert_allclose(timestep_sinusoid(t, 8)[1, 0], np.cos(999.0))
  assert not np.any(timestep_sinusoid(t, 7)[:, -1])
  module = TimestepEmbed(16)
  variables = module.init(jax.random.key(0), t)
  assert module.apply(variables, t).shape == (3, 16)


def test_labels_have_a_null_row_where_wanted():
  y = jnp.array([0, 3, 4])
  with_null = LabelEmbed(3, 4, null_class=True)
  variables = with_null.init(jax.random.key(0), y)
  assert variables["params"]["table"]["embedding"].shape == (4, 4)
  out = with_null.apply(variables, y)
  assert np.isfinite(out[:2]).all() and np.isnan(out[2]).all()
  with pytest.raises(UsageError, match="num_classes=3"):
    with_null.apply(variables, None)
