"""Grids of images as PNG files."""

import pathlib
from collections.abc import Mapping

import matplotlib
import numpy as np
from PIL import Image

from get_jax.evaluation import to_uint8

matplotlib.use("Agg")
MIN_SIDE = 32  # smaller images are enlarged to this many pixels


def save_grid(
  path: pathlib.Path,
  images: np.ndarray,
  names: np.ndarray | None = None,
  columns: int | None = None,
) -> None:
  """Saves images (n, H, W, C) in [-1, 1] as one PNG, row by row.

  Args:
    path: of the file; its folder is made.
    images: floats, or uint8 as they are; of more than 3 channels (latents) the
      first 3 are shown.
    names: what they show; captions are left in a .txt beside the file, one on
      a line.
    columns: images per row; about the square root of n by default.
  """
  columns = columns or int(np.ceil(np.sqrt(len(images))))
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = images if images.dtype == np.uint8 else to_uint8(images)
  Image.fromarray(tile(pixels, columns)).save(path)
  if names is not None and names.dtype.kind == "U":
    lines = (" ".join(name.split()) + "\n" for name in names.tolist())
    path.with_suffix(".txt").write_text("".join(lines), "utf-8")


def tile(pixels: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
  """uint8 images (n, H, W, C) as one (.., .., 3) picture with white gaps."""
  scale = -(-MIN_SIDE // min(pixels.shape[1:3]))
  pixels = pixels.repeat(scale, 1).repeat(scale, 2)
  pixels = pixels[..., :3]
  if pixels.shape[-1] == 1:
    pixels = pixels.repeat(3, -1)
  count, height, width, _ = pixels.shape
  rows = -(-count // columns)
  canvas = np.full(
    (rows * (height + gap) + gap, columns * (width + gap) + gap, 3),
    255,
    np.uint8,
  )
  for i, image in enumerate(pixels):
    top = gap + i // columns * (height + gap)
    left = gap + i % columns * (width + gap)
    canvas[top : top + height, left : left + width] = image
  return canvas


def save_class_grids(
  path: pathlib.Path, grids: Mapping[str, np.ndarray], columns: int = 10
) -> None:
  """Labelled grids side by side: rows are classes, one grid per title.

  Args:
    path: of the PNG.
    grids: title -> images (classes * columns, H, W, C) in [-1, 1], class by
      class.
    columns: images per class.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(
    1, len(grids), figsize=(4.2 * len(grids), 4.4), squeeze=False
  )
  for axis, (title, images) in zip(axes[0], grids.items(), strict=True):
    picture = tile(to_uint8(images), columns)
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title)
    classes = len(images) // columns
    pitch = picture.shape[0] / classes
    axis.set_yticks(
      (np.arange(classes) + 0.5) * pitch, [str(c) for c in range(classes)]
    )
    axis.set_xticks([])
    axis.tick_params(length=0)
    for side in axis.spines.values():
      side.set_visible(False)
  axes[0][0].set_ylabel("class")
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.tight_layout()
  figure.savefig(path, dpi=110)
  plt.close(figure)
