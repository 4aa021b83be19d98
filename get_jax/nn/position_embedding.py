"""Fixed sine-cosine position tables."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from get_jax.errors import UsageError


def sincos_1d(positions: np.ndarray, dim: int) -> np.ndarray:
  """[sin | cos] of positions times 10000^(-k / (dim/2)), k < dim/2.

  Args:
    positions: (N,) coordinates.
    dim: number of channels, even.

  Returns:
    (N, dim) float64.
  """
  frequencies = 10000.0 ** (-np.arange(dim // 2) / (dim // 2))
  angles = np.asarray(positions, np.float64)[:, None] * frequencies
  return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


def sincos_2d(grid: tuple[int, int], dim: int) -> np.ndarray:
  """Position table of a grid of tokens, as in MAE, DiT and GET.

  The first half of the channels holds the column, the second half the row;
  coordinates are whole numbers that do not shrink as the grid grows.

  Args:
    grid: rows and columns of tokens.
    dim: token width, divisible by 4.

  Returns:
    (rows * columns, dim) float32, tokens row by row.

  Raises:
    UsageError: `dim` is not divisible by 4.
  """
  if dim % 4:
    raise UsageError(
      f"hidden_size is {dim}; expected a multiple of 4, which two-dimensional "
      "sine-cosine positions need"
    )
  rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
  halves = [sincos_1d(columns, dim // 2), sincos_1d(rows, dim // 2)]
  return np.concatenate(halves, axis=-1).astype(np.float32)


class PositionTable(nn.Module):
  """Adds a fixed sine-cosine table to tokens.

  The table is kept with the parameters, as the official checkpoints keep it
  (their moving averages differ from the formula in the last bits), under the
  name `pos_table`; no gradient reaches it.
  """

  grid: tuple[int, int]

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """(B, N, D) tokens to float32 tokens of the same shape."""
    dim = tokens.shape[-1]
    table = self.param(
      "pos_table", lambda _: jnp.asarray(sincos_2d(self.grid, dim))
    )
    return tokens + jax.lax.stop_gradient(table)
