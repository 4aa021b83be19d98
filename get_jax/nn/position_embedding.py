"""Fixed sine-cosine position embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from get_jax.errors import UsageError


def sincos_1d(
  positions: Real[np.ndarray, " N"], dim: int
) -> Float[np.ndarray, "N D"]:
  """Returns [sin | cos] of positions times 10000^(-k / (dim/2)), k < dim/2.

  Args:
    positions: Coordinates.
    dim: Number of channels D, even.

  Returns:
    The embedding in float64.
  """
  frequencies = 10000.0 ** (-np.arange(dim // 2) / (dim // 2))
  angles = np.asarray(positions, np.float64)[:, None] * frequencies
  return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


def sincos_2d(grid: tuple[int, int], dim: int) -> Float[np.ndarray, "N D"]:
  """Returns the position table of a grid of tokens, as in MAE, DiT and GET.

  The first half of the channels encodes the column, the second half the row.
  Coordinates are integers and are not rescaled for larger grids.

  Args:
    grid: Rows and columns of tokens.
    dim: Token width D, divisible by 4.

  Returns:
    The table in float32, N = rows * columns tokens in row-major order.

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

  The table is stored with the parameters under the name `pos_table`, as in the
  official checkpoints, whose moving averages differ from the formula in the
  last bits. It gets no gradient.

  Attributes:
    grid: Rows and columns of tokens.
  """

  grid: tuple[int, int]

  @nn.compact
  def __call__(self, tokens: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    """Returns the sum in float32."""
    dim = tokens.shape[-1]
    table = self.param(
      "pos_table", lambda _: jnp.asarray(sincos_2d(self.grid, dim))
    )
    return tokens.astype(jnp.float32) + jax.lax.stop_gradient(table)[None]
