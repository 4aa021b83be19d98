"""Conversion of images to the uint8 NHWC arrays that extractors read.

Every published evaluator quantizes images before it measures them, so
extractors accept no floats.
"""

import numpy as np
from jaxtyping import Array, UInt8
from numpy.typing import ArrayLike

from get_jax.errors import UsageError


def to_uint8(images: ArrayLike, offset: float = 128.0) -> np.ndarray:
  """Quantizes generated images: `floor(clip(127.5 x + offset, 0, 255))`.

  The default is the rule of DiT, U-ViT, EDM and GET; real images stored as
  `u / 127.5 - 1` are recovered exactly.

  Args:
    images: (..., H, W, C) numbers, nominally in [-1, 1]; values outside are
      clipped. The arithmetic is float32, or float64 for float64 images.
    offset: 128, or 127.5 to truncate without rounding, as DiffiT does.

  Returns:
    uint8 array of the same shape, on the host.

  Raises:
    UsageError: An image has NaN or infinite values.
  """
  images = np.asarray(images)
  if images.dtype != np.float64:
    images = images.astype(np.float32, copy=False)
  if not np.isfinite(images).all():
    raise UsageError(
      "the images to be evaluated have NaN or infinite values, expected "
      "finite values in [-1, 1]: has the training run diverged?"
    )
  scaled = 127.5 * images
  scaled += offset
  return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def check_uint8(
  images: UInt8[Array, "B H W C"] | UInt8[np.ndarray, "B H W C"],
  channels: tuple[int, ...],
  size: tuple[int, int] | None,
  extractor: str,
) -> None:
  """Checks the images passed to an extractor.

  Args:
    images: The images.
    channels: Allowed numbers of channels.
    size: The only allowed (height, width), or None for any.
    extractor: Name of the extractor, for the message.

  Raises:
    UsageError: `images` is not uint8 NHWC of the allowed size.
  """
  shape = tuple(getattr(images, "shape", ()))
  dtype = getattr(images, "dtype", None)
  if dtype != np.uint8:
    raise UsageError(
      f"extractor {extractor!r} got images of type {dtype}, expected uint8 "
      "(convert floats in [-1, 1] with get_jax.evaluation.to_uint8 first)"
    )
  valid = len(shape) == 4 and shape[-1] in channels and min(shape) > 0
  if not valid or (size is not None and shape[1:3] != size):
    form = "(N, H, W, C)" if size is None else f"(N, {size[0]}, {size[1]}, C)"
    allowed = " or ".join(map(str, channels))
    raise UsageError(
      f"extractor {extractor!r} got images of shape {shape}, expected {form} "
      f"with C = {allowed}"
    )
