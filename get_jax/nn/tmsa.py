"""Time-dependent multi-head self-attention (TMSA) of DiffiT and its ablations.

Hatamizadeh et al., DiffiT: Diffusion Vision Transformers for Image Generation,
2024.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError
from get_jax.nn.attention import SelfAttentionBase
from get_jax.nn.linear import Linear
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.transformer_block import add_branch, layer_norm

# How the time enters a block: through queries, keys and values ("mixed", that
# is TMSA), through attention to a separate time token, through the position
# bias only, through the MLP only, or not at all.
TIMES = ("mixed", "separate", "position-bias", "mlp", "none")


def relative_position_index(
  window: tuple[int, int],
) -> Int[np.ndarray, "N N"]:
  """Returns the row of the bias table for each query i and key j, int64.

  The official checkpoints contain it; `relative_position_bias` does not need
  it.
  """
  rows, columns = window
  i, j = np.divmod(np.arange(rows * columns), columns)
  row_offsets = i[:, None] - i[None] + rows - 1
  column_offsets = j[:, None] - j[None] + columns - 1
  return row_offsets * (2 * columns - 1) + column_offsets


def relative_position_bias(
  table: jax.Array, window: tuple[int, int]
) -> jax.Array:
  """Expands a table of relative offsets to all pairs of query and key.

  Gathers rows, then columns: two gathers of few large slices are faster than
  one of N^2 single entries, in particular in the backward pass.

  Args:
    table: (..., (2h - 1) (2w - 1), K), one entry per offset and head.
    window: Rows h and columns w of tokens, N = h w.

  Returns:
    (..., K, N, N), query before key.
  """
  h, w = window
  *batch, _, heads = table.shape
  bias = table.reshape(*batch, 2 * h - 1, 2 * w - 1, heads)
  bias = jnp.take(bias, _offsets(h), axis=-3)
  bias = jnp.take(bias, _offsets(w), axis=-2)
  # (..., query row, key row, query column, key column, K)
  bias = jnp.moveaxis(bias, -1, -5).swapaxes(-3, -2)
  return bias.reshape(*batch, heads, h * w, h * w)


def _offsets(size: int) -> np.ndarray:
  positions = np.arange(size)
  return positions[:, None] - positions[None] + size - 1


class TMSA(SelfAttentionBase):
  """Self-attention in windows with time-dependent projections.

  q, k and v are linear in the token and in the time token. A learned bias
  depends on the offset from query to key. The time's contribution to the keys
  is the same for all keys of a query, so softmax cancels it; it is kept because
  the published parameters contain it.

  For the other fields see `get_jax.nn.attention.AttentionFields`.

  Attributes:
    window: Rows h and columns w of tokens that attend to each other.
    time: See `TIMES`; with "mlp" and "none" the attention ignores the time.
  """

  window: tuple[int, int] = (16, 16)
  time: str = "mixed"

  @nn.compact
  def __call__(
    self, x: Float[Array, "Bn hw D"], time: Float[Array, "B E"]
  ) -> Float[Array, "Bn hw D"]:
    """Applies attention within each window.

    Args:
      x: Tokens of n windows per sample, the windows of a sample contiguous.
      time: Time token of each sample.

    Returns:
      Tokens of the same shape.

    Raises:
      UsageError: D is not a multiple of `num_heads`.
    """
    num_windows, _, dim = x.shape
    num_offsets = (2 * self.window[0] - 1) * (2 * self.window[1] - 1)

    def time_projection(features, name):
      linear = Linear(
        features, kernel_init=self.kernel_init, dtype=self.dtype, name=name
      )
      return linear(time)

    def repeat_per_window(a):
      return jnp.repeat(a, num_windows // len(time), axis=0)

    table = self.param(
      "position_bias",
      nn.initializers.normal(0.02),
      (num_offsets, self.num_heads),
      jnp.float32,
    )
    injection = None
    if self.time == "mixed":
      injection = time_projection(3 * dim, "time_qkv")[:, None]
      injection = repeat_per_window(injection)
    elif self.time == "separate":
      # Attention to the single time token returns its value.
      value = time_projection(dim, "time_v")
      injection = jnp.pad(value, ((0, 0), (2 * dim, 0)))
      injection = repeat_per_window(injection[:, None])
    elif self.time == "position-bias":
      shift = time_projection(num_offsets * self.num_heads, "time_bias")
      shift = shift.astype(jnp.float32).reshape(-1, *table.shape)
      table = repeat_per_window(table + shift)
    if table.ndim == 2:
      table = table[None]
    bias = relative_position_bias(table, self.window)
    return self.attend_to_self(x, injection, bias)


class DiffiTBlock(nn.Module):
  """x + TMSA(norm(x), time), then x + mlp(norm(x)).

  Attributes:
    num_heads: Number of attention heads.
    window: Rows h and columns w of tokens that attend to each other.
    mlp_ratio: Hidden width of the MLP divided by the token width D.
    time: See `TIMES`.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  window: tuple[int, int]
  mlp_ratio: float = 4.0
  time: str = "mixed"
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "Bn hw D"], time: Float[Array, "B E"]
  ) -> Float[Array, "Bn hw D"]:
    """Applies the block.

    Args:
      x: Tokens of n windows per sample, the windows of a sample contiguous.
      time: Embedding of the time (and the class) of each sample.

    Returns:
      Tokens of the same shape.

    Raises:
      UsageError: A field has an invalid value, or fields do not fit together.
    """
    if self.time not in TIMES:
      raise UsageError(
        f"time is {self.time!r}; expected one of: {', '.join(TIMES)}"
      )
    attn = TMSA(
      self.num_heads,
      attention=self.attention,
      dtype=self.dtype,
      window=self.window,
      time=self.time,
      name="attn",
    )
    hidden_size = int(x.shape[-1] * self.mlp_ratio)
    mlp = Mlp(hidden_size, gelu_tanh, dtype=self.dtype, name="mlp")
    injection = None
    if self.time == "mlp":
      projection = Linear(hidden_size, dtype=self.dtype, name="time_mlp")(time)
      injection = jnp.repeat(projection[:, None], len(x) // len(time), axis=0)
    x = add_branch(x, attn(layer_norm("norm1", affine=False)(x), time))
    normed = layer_norm("norm2", affine=False)(x)
    return add_branch(x, mlp(normed, injection))
