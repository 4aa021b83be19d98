"""Crops and mirrors uint8 images (H, W, C) and scales them to [-1, 1]."""

import numpy as np
from PIL import Image

from get_jax.data.random_bits import bernoulli


def center_crop(pixels: np.ndarray, size: int) -> np.ndarray:
  """Returns the central square of an image, scaled to `size`, as in ADM.

  The image is halved by averaging while its short side is at least 2 `size`;
  then the short side is scaled to `size` bicubically and the middle is cut out
  (Dhariwal and Nichol 2021).

  Args:
    pixels: uint8 (H, W, C), with C = 1 or 3.
    size: side of the result.

  Returns:
    uint8 (size, size, C); `pixels` itself if it has this shape.
  """
  if pixels.shape[:2] == (size, size):
    return pixels
  grey = pixels.shape[2] == 1
  image = Image.fromarray(pixels[..., 0] if grey else pixels)
  while min(image.size) >= 2 * size:
    half = image.width // 2, image.height // 2
    image = image.resize(half, Image.Resampling.BOX)
  factor = size / min(image.size)
  scaled = round(image.width * factor), round(image.height * factor)
  image = image.resize(scaled, Image.Resampling.BICUBIC)
  left, top = (image.width - size) // 2, (image.height - size) // 2
  return np.asarray(image)[top : top + size, left : left + size].reshape(
    size, size, -1
  )


def random_flip(pixels: np.ndarray, bits: np.ndarray | None) -> np.ndarray:
  """Mirrors each image horizontally with probability 1/2, in place.

  Args:
    pixels: images (n, H, W, C).
    bits: random bits (n,); None mirrors no image.

  Returns:
    `pixels`.
  """
  if bits is not None:
    flipped = bernoulli(bits)
    pixels[flipped] = pixels[flipped, :, ::-1]
  return pixels


def to_float(pixels: np.ndarray) -> np.ndarray:
  """Maps 0..255 to float32 in [-1, 1]."""
  return pixels.astype(np.float32) / np.float32(127.5) - 1
