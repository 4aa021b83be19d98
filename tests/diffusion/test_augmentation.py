"""The augmentation pipeline, without reference numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast_compile import fast_compile_jit

from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.warp import warp

KEY = jax.random.key(0)
OFF = dict.fromkeys(("xflip", "yflip", "scale", "rotate_frac"), 0.0)
OFF |= {"aniso": 0.0, "translate_frac": 0.0}
IMAGES = jax.random.uniform(jax.random.key(1), (6, 8, 12, 3), minval=-1)


def test_the_identity_returns_the_image():
  same = jnp.broadcast_to(jnp.eye(3), (6, 3, 3))
  np.testing.assert_allclose(
    fast_compile_jit(warp)(IMAGES, same), IMAGES, atol=3e-6
  )


def test_labels_describe_the_operations():
  augmentation = Augmentation()
  assert augmentation.num_labels == 9
  images, labels = fast_compile_jit(augmentation)(KEY, IMAGES)
  assert images.shape == IMAGES.shape and labels.shape == (6, 9)
  # Only mirroring, which has a label too.
  plain = np.flatnonzero(~np.any(labels[:, 1:], axis=1))
  assert len(plain) and np.isin(labels[:, 0], [0, 1]).all()
  for i in plain:
    expected = IMAGES[i, :, ::-1] if labels[i, 0] else IMAGES[i]
    np.testing.assert_allclose(images[i], expected, atol=3e-6)


def test_switched_off_it_does_nothing():
  images, labels = Augmentation(**OFF)(KEY, IMAGES)
  assert labels.shape == (6, 0)
  np.testing.assert_array_equal(images, IMAGES)


def test_colour_of_grey_images():
  augmentation = Augmentation(
    **{**OFF, "p": 1.0, "brightness": 1.0, "contrast": 1.0, "lumaflip": 1.0}
  )
  parameters = augmentation.sample_parameters(KEY, 6)
  apply = fast_compile_jit(augmentation.apply)
  grey = IMAGES[..., :1]
  alone, _ = apply(grey, parameters)
  tripled, _ = apply(jnp.repeat(grey, 3, axis=-1), parameters)
  np.testing.assert_allclose(alone, tripled[..., :1], atol=1e-5)
  np.testing.assert_allclose(tripled, alone.repeat(3, axis=-1), atol=1e-5)


@pytest.mark.parametrize("shift", [(2, 0), (0, 3), (-1, 2)])
def test_whole_pixels_move_exactly(shift):
  move = np.eye(3, dtype=np.float32)
  move[:2, 2] = [-s for s in shift]
  inverse = jnp.broadcast_to(move, (6, 3, 3))
  moved = fast_compile_jit(warp)(IMAGES, inverse)
  x, y = shift
  padded = np.pad(IMAGES, ((0, 0), (4, 4), (4, 4), (0, 0)), "reflect")
  expected = padded[:, 4 - y : 12 - y, 4 - x : 16 - x]
  np.testing.assert_allclose(moved, expected, atol=3e-6)
