"""Time-dependent multi-head self-attention (DiffiT), and ways to ablate it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from get_jax.errors import UsageError
from get_jax.nn.attention import SelfAttention
from get_jax.nn.linear import Linear
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.transformer_block import layer_norm

# How the time reaches a block: through queries, keys and values ("mixed",
# which is TMSA), through attention over a token of its own, through the
# position bias only, through the perceptron only, or not at all.
TIMES = ("mixed", "separate", "position-bias", "mlp", "none")


def relative_position_index(window: tuple[int, int]) -> np.ndarray:
  """Row of the bias table for each query i and key j, (N, N) int64.

  The official checkpoints hold it; `relative_position_bias` needs it not.
  """
  rows, columns = window
  i, j = np.divmod(np.arange(rows * columns), columns)
  down = i[:, None] - i[None] + rows - 1
  across = j[:, None] - j[None] + columns - 1
  return down * (2 * columns - 1) + across


def relative_position_bias(
  table: jax.Array, window: tuple[int, int]
) -> jax.Array:
  """A table of offsets spread over all pairs of query and key.

  Rows first, then columns: two gathers of few large slices, which is quicker
  than one of N^2 single entries, most of all backwards.

  Args:
    table: (..., (2h - 1) (2w - 1), K), one entry per offset and head.
    window: rows h and columns w of tokens, N = h w.

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
  places = np.arange(size)
  return places[:, None] - places[None] + size - 1


class TMSA(SelfAttention):
  """Self-attention in windows whose projections depend on the time.

  q, k and v are linear in the token and in the time token; a learned bias
  depends on the offset from query to key. (The time's share of the keys is
  the same for all keys of a query, so softmax cancels it; it is kept, as the
  published parameters have it.)

  Attributes:
    window: rows and columns of tokens that attend to each other.
    time: see `TIMES`; "mlp" and "none" leave the time out here.
  """

  window: tuple[int, int] = (16, 16)
  time: str = "mixed"

  @nn.compact
  def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
    """(B*n, h*w, D) tokens of n windows a sample and (B, E) times to tokens.

    Raises:
      UsageError: D is not a multiple of `num_heads`.
    """
    windows, _, dim = x.shape
    entries = (2 * self.window[0] - 1) * (2 * self.window[1] - 1)

    def told(features, name):
      dense = dict(kernel_init=self.kernel_init, dtype=self.dtype)
      return Linear(features, name=name, **dense)(time)

    def each_window(a):
      return jnp.repeat(a, windows // len(time), axis=0)

    table = self.param(
      "position_bias", nn.initializers.normal(0.02), (entries, self.num_heads)
    )
    injection = None
    if self.time == "mixed":
      injection = each_window(told(3 * dim, "time_qkv")[:, None])
    elif self.time == "separate":
      # Attention over the one time token returns its value.
      value = told(dim, "time_v")
      injection = jnp.pad(value, ((0, 0), (2 * dim, 0)))
      injection = each_window(injection[:, None])
    elif self.time == "position-bias":
      moves = told(entries * self.num_heads, "time_bias").astype(jnp.float32)
      table = each_window(table + moves.reshape(-1, *table.shape))
    if table.ndim == 2:
      table = table[None]
    bias = relative_position_bias(table, self.window)
    return super().__call__(x, injection, bias)


class DiffiTBlock(nn.Module):
  """x + TMSA(norm(x), time), then x + mlp(norm(x)).

  Attributes:
    num_heads: attention heads.
    window: rows and columns of tokens that attend to each other.
    mlp_ratio: hidden width of the perceptron over D.
    time: see `TIMES`.
    attention: see `get_jax.nn.attention.attend`.
    dtype: type of the matrix products.
  """

  num_heads: int
  window: tuple[int, int]
  mlp_ratio: float = 4.0
  time: str = "mixed"
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
    """Tokens (B*n, h*w, D) and the time (and class) (B, E) to tokens.

    Raises:
      UsageError: fields that do not fit each other.
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
      told = Linear(hidden_size, dtype=self.dtype, name="time_mlp")(time)
      injection = jnp.repeat(told[:, None], len(x) // len(time), axis=0)
    x = x + attn(layer_norm("norm1", affine=False)(x), time)
    return x + mlp(layer_norm("norm2", affine=False)(x), injection)
