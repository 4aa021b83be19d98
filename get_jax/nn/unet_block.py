"""The residual block of EDM's networks (Karras et al., Appendix F)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.nn.attention import attend
from get_jax.nn.edm_layers import Conv, Init, Linear
from get_jax.nn.tmsa import relative_position_bias


def group_norm(name: str, x: jax.Array, epsilon: float, dtype: Any = None):
  """Normalises groups of four channels or more, 32 groups at most."""
  norm = nn.GroupNorm(
    min(32, x.shape[-1] // 4),
    epsilon=epsilon,
    use_fast_variance=False,
    dtype=dtype,
    name=name,
  )
  return norm(x)


class UNetBlock(nn.Module):
  """Two convolutions round a noise embedding, a skip, and attention.

  Attributes:
    features: channels of the result.
    num_heads: of the attention; 0 leaves it out.
    up: doubles the resolution.
    down: halves the resolution.
    dropout: probability before the second convolution.
    skip_scale: factor on every sum.
    epsilon: of the norms.
    taps: of the resampling filter.
    resample_proj: a 1x1 kernel on the skip wherever it is resampled.
    adaptive_scale: the embedding scales and shifts, and does not only add.
    initial: how the layers start.
    initial_last: how those start that end a branch.
    initial_attn: how the projection to queries, keys and values starts;
      None is `initial`.
    tmsa: DiffiT's attention: the embedding shifts queries, keys and values,
      and a bias depends on the offset from query to key.
    attention: see `get_jax.nn.attention.attend`.
    dtype: type of the products; None is float32.
  """

  features: int
  num_heads: int = 0
  up: bool = False
  down: bool = False
  dropout: float = 0.0
  skip_scale: float = 1.0
  epsilon: float = 1e-5
  taps: tuple[int, ...] = (1, 1)
  resample_proj: bool = False
  adaptive_scale: bool = True
  initial: Init = Init()
  initial_last: Init = Init(weight=0.0)
  initial_attn: Init | None = None
  tmsa: bool = False
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, embedding: jax.Array, train: bool = False
  ) -> jax.Array:
    """Runs the block.

    Args:
      x: (B, H, W, C).
      embedding: (B, E) of noise level and condition.
      train: whether to drop out; needs the "dropout" key then.

    Returns:
      (B, H', W', features).
    """
    resampled = dict(up=self.up, down=self.down, taps=self.taps)
    common = dict(initial=self.initial, dtype=self.dtype)
    skip = x

    x = nn.silu(self._norm("norm0", x))
    x = Conv(self.features, name="conv0", **resampled, **common)(x)
    width = self.features * (1 + self.adaptive_scale)
    told = Linear(width, name="affine", initial=self.initial)(embedding)
    told = told[:, None, None].astype(x.dtype)
    if self.adaptive_scale:
      scale, shift = jnp.split(told, 2, axis=-1)
      x = nn.silu(shift + self._norm("norm1", x) * (1 + scale))
    else:
      x = nn.silu(self._norm("norm1", x + told))
    x = nn.Dropout(self.dropout, deterministic=not train, name="drop")(x)
    last = dict(initial=self.initial_last, dtype=self.dtype)
    x = Conv(self.features, name="conv1", **last)(x)

    other = skip.shape[-1] != self.features
    if other or self.up or self.down:
      size = int(self.resample_proj or other)
      skip = Conv(self.features, size, name="skip", **resampled, **common)(skip)
    x = (x + skip) * self.skip_scale
    if self.num_heads:
      x = (x + self._attention(x, embedding)) * self.skip_scale
    return x

  def _norm(self, name, x):
    return group_norm(name, x, self.epsilon, self.dtype)

  def _attention(self, x, embedding):
    batch, height, width, channels = x.shape
    initial = self.initial_attn or self.initial
    h = self._norm("norm2", x)
    common = dict(initial=initial, dtype=self.dtype)
    qkv = Conv(3 * channels, 1, name="qkv", **common)(h)
    bias = None
    if self.tmsa:
      told = Linear(3 * channels, initial=initial, name="time_qkv")(embedding)
      qkv = qkv + told[:, None, None].astype(qkv.dtype)
      entries = (2 * height - 1) * (2 * width - 1)
      start = nn.initializers.normal(0.02)
      table = self.param("position_bias", start, (entries, self.num_heads))
      bias = relative_position_bias(table, (height, width))[None]
    # The official layout: heads, then channels, then query, key, value.
    heads = batch, height * width, self.num_heads, -1, 3
    q, k, v = jnp.moveaxis(qkv.reshape(heads), -1, 0)
    out = attend(q, k, v, bias, self.attention).reshape(x.shape)
    last = dict(initial=self.initial_last, dtype=self.dtype)
    return Conv(channels, 1, name="proj", **last)(out)
