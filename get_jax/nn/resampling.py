"""Resampling of tables on a grid, such as learned position embeddings."""

import numpy as np
from jaxtyping import Float

from get_jax.errors import UsageError

# "bicubic": cell centres are aligned, with an antialiasing filter if the grid
# shrinks. This is the rule of timm, and of Pillow. "bilinear_corners": the
# first and the last points are aligned, as in the code of the original ViT
# (google-research/vision_transformer), which uses scipy.ndimage.zoom.
METHODS = ("bicubic", "bilinear_corners")


def resample_grid(
  table: Float[np.ndarray, "rows columns D"],
  grid: tuple[int, int],
  method: str = "bicubic",
) -> Float[np.ndarray, "rows2 columns2 D"]:
  """Resamples a table of vectors on a grid to another grid.

  Args:
    table: One vector of D numbers per grid point.
    grid: Rows and columns of the result.
    method: One of `METHODS`.

  Returns:
    The table, computed in float64, in the dtype of `table`; `table` itself if
    the grid is the same.

  Raises:
    UsageError: The method is unknown.
  """
  if method not in METHODS:
    raise UsageError(
      f"the resampling method is {method!r}; expected one of: "
      f"{', '.join(METHODS)}"
    )
  if table.shape[:2] == tuple(grid):
    return table
  matrix = bicubic_matrix if method == "bicubic" else bilinear_corners_matrix
  rows, columns = (
    matrix(n, m) for n, m in zip(table.shape[:2], grid, strict=True)
  )
  resampled = np.einsum("ir,rcd,jc->ijd", rows, table, columns, optimize=True)
  return resampled.astype(table.dtype)


def bicubic_matrix(length: int, size: int) -> Float[np.ndarray, "size length"]:
  """Returns the weights of bicubic resampling along one axis.

  Cell centres are aligned. As in Pillow, the kernel is stretched if the axis
  shrinks, and truncated and renormalised at the border.

  Args:
    length: Points along the axis before.
    size: Points along the axis afterwards.

  Returns:
    The weights in float64; rows sum to 1.
  """
  scale = length / size
  stretch = max(scale, 1.0)
  centre = (np.arange(size)[:, None] + 0.5) * scale
  weights = _keys_cubic((np.arange(length) + 0.5 - centre) / stretch)
  return weights / weights.sum(axis=1, keepdims=True)


def bilinear_corners_matrix(
  length: int, size: int
) -> Float[np.ndarray, "size length"]:
  """Returns the weights of bilinear resampling with aligned end points.

  Args:
    length: Points along the axis before.
    size: Points along the axis afterwards; a single one is the first point.

  Returns:
    The weights in float64; rows sum to 1.
  """
  positions = np.arange(size) * ((length - 1) / max(size - 1, 1))
  distance = np.abs(positions[:, None] - np.arange(length))
  return np.maximum(1 - distance, 0)


def _keys_cubic(x: np.ndarray) -> np.ndarray:
  """Keys' cubic kernel with a = -1/2."""
  x = np.abs(x)
  near = (1.5 * x - 2.5) * x**2 + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return np.where(x < 1, near, np.where(x < 2, far, 0.0))
