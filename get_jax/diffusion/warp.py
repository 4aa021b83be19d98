"""Moving images by affine maps without blur (StyleGAN2-ADA's resampling).

An image is reflected at its borders, upsampled twofold by the orthogonal sym6
wavelet, read at the mapped places with bilinear weights, and downsampled by
the same wavelet. The identity returns the image. Padding and both filters are
linear in rows and columns, so they are matrices here: two products of static
shape, whatever the maps.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

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
MARGIN = len(SYM6) // 4  # pixels that the output needs on each side


def warp(images: jax.Array, inverse: jax.Array) -> jax.Array:
  """Maps images.

  Args:
    images: (B, H, W, C).
    inverse: (B, 3, 3), from a place in the output to its place in the input,
      in pixels (x, y, 1) from the centre.

  Returns:
    (B, H, W, C). Beyond one reflection the input counts as 0.
  """
  _, height, width, _ = images.shape
  up_rows, up_columns = (_upsampling(n) for n in (height, width))
  large = jnp.einsum("ph,bhwc,qw->bpqc", up_rows, images, up_columns)
  # Centres of the output's pixels at twice the resolution, margin included.
  x = (np.arange(2 * (width + 2 * MARGIN)) + 0.5) / 2 - width / 2 - MARGIN
  y = (np.arange(2 * (height + 2 * MARGIN)) + 0.5) / 2 - height / 2 - MARGIN
  # Upsampling shifts by a quarter of a pixel, here and there.
  x, y = np.meshgrid(x + 0.25, y + 0.25)
  places = jnp.asarray(np.stack([x, y, np.ones_like(x)]), jnp.float32)
  moved = jnp.einsum("bij,jpq->bipq", inverse[:, :2], places)
  column = 2 * moved[:, 0] - 0.5 + (large.shape[2] - 1) / 2
  row = 2 * moved[:, 1] - 0.5 + (large.shape[1] - 1) / 2
  read = jax.vmap(_bilinear)(large, row, column)
  down_rows, down_columns = (_downsampling(n) for n in (height, width))
  return jnp.einsum("hp,bpqc,wq->bhwc", down_rows, read, down_columns)


def _bilinear(image, row, column):
  """Reads (H, W, C) at places (P, Q), zero outside."""
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
  """Reflect `size` pixels at both ends, then upsample: (2 (3 size - 2), size).

  The margin is the largest that a reflection gives, and so depends neither on
  the maps nor on the batch.
  """
  reflected = np.pad(np.eye(size), ((size - 1, size - 1), (0, 0)), "reflect")
  count = len(reflected)
  out = np.zeros((2 * count, size))
  for i in range(2 * count):
    for tap, weight in enumerate(SYM6[::-1]):
      place = i + tap - 6  # in the row of pixels and zeros between them
      if place % 2 == 0 and 0 <= place < 2 * count:
        out[i] += weight * reflected[place // 2]
  return out.astype(np.float32)


@functools.lru_cache
def _downsampling(size: int) -> np.ndarray:
  """Downsample and drop the margins: (size, 2 (size + 2 MARGIN))."""
  out = np.zeros((size, 2 * (size + 2 * MARGIN)))
  for i in range(size):
    first = 2 * (i + MARGIN) - 5
    out[i, first : first + len(SYM6)] = SYM6
  return out.astype(np.float32)
