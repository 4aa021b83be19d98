"""Crops and mirrors uint8 images (H, W, C) and scales them to [-1, 1]."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from get_jax.data.random_bits import bernoulli


def center_crop(pixels: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
  """Returns the central part of an image, scaled to `size`, as in ADM.

  The image is halved by averaging while it is at least twice as large; then it
  is scaled bicubically until one side fits and the other is not too short, and
  the middle is cut out (Dhariwal and Nichol 2021, for squares).

  Args:
    pixels: uint8 (H, W, C), with C = 1 or 3.
    size: side of the result, or its (H, W).

  Returns:
    uint8 (*size, C); `pixels` itself if it has this shape.
  """
  height, width = height_and_width(size)
  if pixels.shape[:2] == (height, width):
    return pixels
  grey = pixels.shape[2] == 1
  image = Image.fromarray(pixels[..., 0] if grey else pixels)
  while image.width >= 2 * width and image.height >= 2 * height:
    half = image.width // 2, image.height // 2
    image = image.resize(half, Image.Resampling.BOX)
  factor = max(width / image.width, height / image.height)
  scaled = round(image.width * factor), round(image.height * factor)
  image = image.resize(scaled, Image.Resampling.BICUBIC)
  left, top = (image.width - width) // 2, (image.height - height) // 2
  return np.asarray(image)[top : top + height, left : left + width].reshape(
    height, width, -1
  )


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
  """Returns (H, W) of a size: the side of a square, or (H, W) itself."""
  height, width = (size, size) if isinstance(size, int) else size
  return height, width


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
