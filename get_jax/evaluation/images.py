"""Images as the scores see them: uint8, NHWC.

Every published evaluator quantises before it measures, so floats never reach
an extractor.
"""

import numpy as np

from get_jax.errors import UsageError


def to_uint8(images, offset: float = 128.0) -> np.ndarray:
  """Quantises images of a generator: `floor(clip(127.5 x + 128, 0, 255))`.

  The rule of DiT, U-ViT, EDM and GET; real images stored as `u / 127.5 - 1`
  come back unchanged.

  Args:
    images: (..., H, W, C) floats, nominally in [-1, 1]; values outside are
      clipped.
    offset: 127.5 truncates without rounding first, as DiffiT.

  Returns:
    uint8 array of the same shape, on the host.

  Raises:
    UsageError: An image holds NaN or infinity.
  """
  images = np.asarray(images, np.float32)
  if not np.isfinite(images).all():
    raise UsageError(
      "the images to be measured hold NaN or infinite values, expected "
      "finite values in [-1, 1]: has the training run diverged?"
    )
  return np.clip(127.5 * images + offset, 0, 255).astype(np.uint8)


def check_uint8(
  images, channels: tuple[int, ...], size: tuple[int, int] | None, who: str
) -> None:
  """Refuses what an extractor cannot read.

  Args:
    images: What was passed to the extractor.
    channels: Numbers of channels that are allowed.
    size: The only (height, width) allowed, or None for any.
    who: Name of the extractor, for the sentence.

  Raises:
    UsageError: `images` is not uint8 NHWC of the allowed size.
  """
  shape = tuple(getattr(images, "shape", ()))
  dtype = getattr(images, "dtype", None)
  if dtype != np.uint8:
    raise UsageError(
      f"extractor {who!r} got images of type {dtype}, expected uint8 "
      "(floats in [-1, 1] go through get_jax.evaluation.to_uint8 first)"
    )
  good = len(shape) == 4 and shape[-1] in channels and min(shape) > 0
  if not good or (size is not None and shape[1:3] != size):
    where = "(N, H, W, C)" if size is None else f"(N, {size[0]}, {size[1]}, C)"
    allowed = " or ".join(map(str, channels))
    raise UsageError(
      f"extractor {who!r} got images of shape {shape}, expected {where} with "
      f"C = {allowed}"
    )
