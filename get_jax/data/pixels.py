"""Crops single images and scales pixels; uint8 (H, W, C)."""

import numpy as np
from PIL import Image


def center_crop(pixels: np.ndarray, size: int) -> np.ndarray:
  """The central square, scaled to `size`, as ADM prepares images.

  Halves by averaging while the short side is twice too long, scales it to
  `size` bicubically and cuts out the middle (Dhariwal and Nichol 2021).
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


def to_float(pixels: np.ndarray) -> np.ndarray:
  """0..255 to float32 in [-1, 1]."""
  return pixels.astype(np.float32) / np.float32(127.5) - 1
