"""Partition of feature maps into non-overlapping windows of tokens."""

from jaxtyping import Array, Float

from get_jax.errors import UsageError
from get_jax.nn.patches import patchify, unpatchify


def window_and_grid(
  height: int, width: int, size: int
) -> tuple[tuple[int, int], tuple[int, int]]:
  """Returns the size and the number of the windows of a feature map.

  Args:
    height: Rows of the map.
    width: Columns of the map.
    size: Side of a window; limited to the map's height and width.

  Returns:
    Rows and columns (h, w) of a window, and rows and columns of the grid of
    windows.

  Raises:
    UsageError: Height or width is not a multiple of the window's.
  """
  window = min(height, size), min(width, size)
  if height % window[0] or width % window[1]:
    raise UsageError(
      f"a feature map is {height}x{width}; expected multiples of window={size}"
    )
  return window, (height // window[0], width // window[1])


def window_partition(
  x: Float[Array, "B H W C"], window: tuple[int, int]
) -> Float[Array, "Bn hw C"]:
  """Partitions maps into windows (h, w), n per map, in row-major order."""
  channels = x.shape[-1]
  return patchify(x, window).reshape(-1, window[0] * window[1], channels)


def window_merge(
  tokens: Float[Array, "Bn hw C"],
  window: tuple[int, int],
  grid: tuple[int, int],
) -> Float[Array, "B H W C"]:
  """Merges windows into maps; the inverse of `window_partition`."""
  pixels = window[0] * window[1]
  patches = tokens.reshape(-1, grid[0] * grid[1], pixels * tokens.shape[-1])
  return unpatchify(patches, grid, window)
