"""Feature maps as batches of non-overlapping windows of tokens."""

import jax

from get_jax.errors import UsageError
from get_jax.nn.patches import patchify, unpatchify


def window_of(
  height: int, width: int, size: int
) -> tuple[tuple[int, int], tuple[int, int]]:
  """The windows of a map.

  Args:
    height: rows of the map.
    width: columns of the map.
    size: side of a window; a smaller map is one window.

  Returns:
    Rows and columns of a window, and of the grid of windows.

  Raises:
    UsageError: the map is no multiple of the window.
  """
  window = min(height, size), min(width, size)
  if height % window[0] or width % window[1]:
    raise UsageError(
      f"a feature map is {height}x{width}; expected multiples of window={size}"
    )
  return window, (height // window[0], width // window[1])


def split(x: jax.Array, window: tuple[int, int]) -> jax.Array:
  """(B, H, W, C) to (B*n, h*w, C): the n windows of each map, row by row."""
  channels = x.shape[-1]
  return patchify(x, window).reshape(-1, window[0] * window[1], channels)


def join(
  tokens: jax.Array, window: tuple[int, int], grid: tuple[int, int]
) -> jax.Array:
  """The inverse of `split`."""
  pixels = window[0] * window[1]
  patches = tokens.reshape(-1, grid[0] * grid[1], pixels * tokens.shape[-1])
  return unpatchify(patches, grid, window)
