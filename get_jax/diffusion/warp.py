"""Affine warping of images with StyleGAN2-ADA's resampling.

An image is padded by reflection, upsampled by a factor of 2 with the orthogonal
sym6 wavelet, sampled at the mapped positions with bilinear interpolation, and
downsampled with the same wavelet. The identity map returns the image. Padding
and both filters are linear in rows and columns, so they are implemented as
matrix products, whose shapes do not depend on the maps.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from get_jax.diffusion.process import as_float32
from get_jax.diffusion.typing import Array

SYM6 = np.array(
  [
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
  ]
)
MARGIN = len(SYM6) // 4  # Extra pixels of the output on each side.


def warp(
  images: Real[Array, "B H W C"], inverse: Float[Array, "B 3 3"]
) -> Float[Array, "B H W C"]:
  """Applies an affine map to every image.

  Args:
    images: (B, H, W, C).
    inverse: (B, 3, 3), maps a position in the output to its position in the
      input, in pixels (x, y, 1) from the centre.

  Returns:
    (B, H, W, C) float32. The input is 0 beyond one reflection.
  """
  _, height, width, _ = images.shape
  images, inverse = as_float32(images), as_float32(inverse)
  up_rows, up_columns = (_upsampling(n) for n in (height, width))
  large = jnp.einsum("ph,bhwc,qw->bpqc", up_rows, images, up_columns)
  # Pixel centres of the output at twice the resolution, with the margin.
  x = (np.arange(2 * (width + 2 * MARGIN)) + 0.5) / 2 - width / 2 - MARGIN
  y = (np.arange(2 * (height + 2 * MARGIN)) + 0.5) / 2 - height / 2 - MARGIN
  # Upsampling shifts by a quarter of a pixel, in the output and in the input.
  x, y = np.meshgrid(x + 0.25, y + 0.25)
  positions = jnp.asarray(np.stack([x, y, np.ones_like(x)]), jnp.float32)
  moved = jnp.einsum("bij,jpq->bipq", inverse[:, :2], positions)
  column = 2 * moved[:, 0] - 0.5 + (large.shape[2] - 1) / 2
  row = 2 * moved[:, 1] - 0.5 + (large.shape[1] - 1) / 2
  sampled = jax.vmap(_bilinear)(large, row, column)
  down_rows, down_columns = (_downsampling(n) for n in (height, width))
  return jnp.einsum("hp,bpqc,wq->bhwc", down_rows, sampled, down_columns)


def _bilinear(image, row, column):
  """Samples (H, W, C) at positions (P, Q); zero outside of the image."""
  height, width, _ = image.shape
  top, left = jnp.floor(row), jnp.floor(column)
  total = 0.0
  for i, row_share in ((top, 1 - (row - top)), (top + 1, row - top)):
    for j, column_share in (
      (left, 1 - (column - left)),
      (left + 1, column - left),
    ):
      inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
      share = jnp.where(inside, row_share * column_share, 0.0)
      i_safe = jnp.clip(i, 0, height - 1).astype(jnp.int32)
      j_safe = jnp.clip(j, 0, width - 1).astype(jnp.int32)
      total += share[..., None] * image[i_safe, j_safe]
  return total


@functools.lru_cache
def _upsampling(size: int) -> np.ndarray:
  """Returns the matrix of padding and upsampling, (2 (3 size - 2), size).

  The padding is the largest possible reflection, size - 1 pixels at both ends,
  so it depends neither on the maps nor on the batch.
  """
  reflected = np.pad(np.eye(size), ((size - 1, size - 1), (0, 0)), "reflect")
  count = len(reflected)
  out = np.zeros((2 * count, size))
  for i in range(2 * count):
    for tap, weight in enumerate(SYM6[::-1]):
      position = i + tap - 6  # In the pixels with zeros inserted between them.
      if position % 2 == 0 and 0 <= position < 2 * count:
        out[i] += weight * reflected[position // 2]
  return out.astype(np.float32)


@functools.lru_cache
def _downsampling(size: int) -> np.ndarray:
  """Returns the matrix of downsampling and cropping.

  Its shape is (size, 2 (size + 2 MARGIN)).
  """
  out = np.zeros((size, 2 * (size + 2 * MARGIN)))
  for i in range(size):
    first = 2 * (i + MARGIN) - 5
    out[i, first : first + len(SYM6)] = SYM6
  return out.astype(np.float32)
