"""Resizes uint8 images to Inception's 299x299 input in three published ways.

A resize is linear and separable, so each is two matrices made on the host in
float64, applied to rows and columns. The choice changes FID by more than the
decimals that papers print, so every result states it.

| name | resize | values | used by |
| --- | --- | --- | --- |
| tf1 | bilinear from i * in / 299, no antialias | (x - 128) / 128 | ADM, EDM |
| pytorch_fid | half-pixel bilinear, no antialias | x / 127.5 - 1 | GET, U-ViT |
| clean | bicubic with antialias, clipped | (x - 128) / 128 | clean-fid |
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from get_jax.errors import UsageError
from get_jax.nn.resampling import bicubic_matrix

SIZE = 299
PREPROCESSINGS = ("tf1", "pytorch_fid", "clean")


def preprocess(
  images: UInt8[Array, "B H W C"], name: str, size: int = SIZE
) -> Float32[Array, "B size size C"]:
  """Resizes and normalizes images.

  Args:
    images: uint8 (B, H, W, C).
    name: One of `PREPROCESSINGS`.
    size: Height and width of the result.

  Returns:
    (B, size, size, C) float32, about [-1, 1].

  Raises:
    UsageError: The name is unknown.
  """
  if name not in PREPROCESSINGS:
    raise UsageError(
      f"unknown preprocessing {name!r}, expected one of {PREPROCESSINGS}"
    )
  rows, columns = (resize_matrix(n, size, name) for n in images.shape[1:3])
  x = images.astype(jnp.float32)
  x = jnp.einsum("ih,bhwc->biwc", rows, x, precision=jax.lax.Precision.HIGHEST)
  x = jnp.einsum(
    "jw,biwc->bijc", columns, x, precision=jax.lax.Precision.HIGHEST
  )
  if name == "clean":
    x = jnp.clip(x, 0, 255)
  return x / 127.5 - 1 if name == "pytorch_fid" else (x - 128) / 128


def resize_matrix(
  length: int, size: int, name: str
) -> Float32[np.ndarray, "size length"]:
  """Returns the weights of the source pixels for each pixel of the result.

  Args:
    length: Pixels along an axis of the source.
    size: Pixels along that axis of the result.
    name: One of `PREPROCESSINGS`.

  Returns:
    (size, length) float32; rows sum to 1.
  """
  if name == "clean":
    return bicubic_matrix(length, size).astype(np.float32)
  scale = length / size
  half = 0.5 if name == "pytorch_fid" else 0.0
  source = np.clip((np.arange(size) + half) * scale - half, 0, length - 1)
  distance = np.abs(source[:, None] - np.arange(length))
  return np.maximum(1 - distance, 0).astype(np.float32)
