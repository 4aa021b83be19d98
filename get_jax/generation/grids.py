"""Saves grids of images as PNG files."""

import io
from collections.abc import Mapping

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

from get_jax.evaluation import to_uint8
from get_jax.storage.paths import Path, write_bytes, write_text

MIN_SIDE = 32  # pixels; smaller images are enlarged


def save_grid(
  path: Path,
  images: Num[np.ndarray, "n H W C"],
  names: np.ndarray | None = None,
  columns: int | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
  """Saves images as one PNG, row by row.

  Args:
    path: path of the PNG; its folder is created if necessary.
    images: images (n, H, W, C), float in [-1, 1] or uint8. If there are more
      than 3 channels (latents), the first 3 are shown.
    names: class labels (n,) or captions (n,). Captions are written to a .txt
      file of the same name, one per line; labels are ignored.
    columns: images per row; by default the square root of n, rounded up.

  Returns:
    The pixels of the PNG.
  """
  columns = columns or int(np.ceil(np.sqrt(len(images))))
  pixels = images if images.dtype == np.uint8 else to_uint8(images)
  grid = tile(pixels, columns)
  png = io.BytesIO()
  Image.fromarray(grid).save(png, "PNG")
  write_bytes(path, png.getvalue())
  if names is not None and names.dtype.kind == "U":
    lines = (" ".join(name.split()) + "\n" for name in names.tolist())
    write_text(path.with_suffix(".txt"), "".join(lines))
  return grid


def tile(
  pixels: UInt8[np.ndarray, "n h w c"], columns: int, gap: int = 2
) -> UInt8[np.ndarray, "H W 3"]:
  """Tiles images into one image with white gaps.

  Args:
    pixels: images (n, h, w, c). Images smaller than `MIN_SIDE` are enlarged by
      an integer factor. One channel is shown as gray; if there are more than 3
      channels, the first 3 are shown.
    columns: images per row.
    gap: pixels between two images, and around the grid.
  """
  scale = -(-MIN_SIDE // min(pixels.shape[1:3]))
  height, width = scale * pixels.shape[1], scale * pixels.shape[2]
  rows = -(-len(pixels) // columns)
  canvas = np.full(
    (rows * (height + gap) + gap, columns * (width + gap) + gap, 3),
    255,
    np.uint8,
  )
  for i, image in enumerate(pixels):
    top = gap + i // columns * (height + gap)
    left = gap + i % columns * (width + gap)
    # One channel is broadcast to three.
    enlarged = image[..., :3].repeat(scale, 0).repeat(scale, 1)
    canvas[top : top + height, left : left + width] = enlarged
  return canvas


def save_class_grids(
  path: Path, grids: Mapping[str, np.ndarray], columns: int = 10
) -> None:
  """Saves titled grids side by side as one PNG; each row shows one class.

  Args:
    path: path of the PNG; its folder is created if necessary.
    grids: dict from title to images (classes * columns, H, W, C) in [-1, 1],
      ordered by class.
    columns: images per class.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4.2 * len(grids), 4.4))
  axes = figure.subplots(1, len(grids), squeeze=False)
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
  figure.tight_layout()
  png = io.BytesIO()
  figure.savefig(png, format="png", dpi=110)
  write_bytes(path, png.getvalue())
