"""Residual block of EDM's networks (Karras et al., 2022, Appendix F)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.nn.attention import attend
from get_jax.nn.attention_maps import sow_probabilities
from get_jax.nn.edm_layers import Conv, Init, Linear
from get_jax.nn.tmsa import relative_position_bias


def group_norm(
  name: str, x: jax.Array, epsilon: float, dtype: Any = None
) -> jax.Array:
  """Applies group norm with at least 4 channels a group and at most 32 groups.

  Args:
    name: Name of the module.
    x: Feature map, channels last.
    epsilon: Added to the variance.
    dtype: Dtype of the result; None is float32.
  """
  norm = nn.GroupNorm(
    min(32, x.shape[-1] // 4),
    epsilon=epsilon,
    use_fast_variance=False,
    dtype=jnp.float32,
    name=name,
  )
  return norm(x.astype(jnp.float32)).astype(dtype or jnp.float32)


class UNetBlock(nn.Module):
  """Two convolutions with the noise embedding between, skip and attention.

  Attributes:
    features: Channels of the result.
    num_heads: Number of attention heads; 0 for no attention.
    up: Whether to double the resolution.
    down: Whether to halve the resolution.
    dropout: Dropout probability before the second convolution.
    skip_scale: Factor on every residual sum.
    epsilon: Epsilon of the norms.
    taps: Taps of the resampling filter.
    resample_proj: Whether the skip has a 1x1 convolution wherever it is
      resampled.
    adaptive_scale: Whether the embedding scales and shifts, and not only
      shifts.
    initial: Initialisation of the layers.
    initial_last: Initialisation of the last layer of each branch.
    initial_attn: Initialisation of the projection to queries, keys and values;
      None is `initial`.
    tmsa: Whether to use DiffiT's attention: the embedding shifts queries, keys
      and values, and a bias depends on the offset from query to key.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the products; None is float32.
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
    self,
    x: Float[Array, "B H W C"],
    embedding: Float[Array, "B E"],
    train: bool = False,
  ) -> Float[Array, "B H2 W2 F"]:
    """Applies the block.

    Args:
      x: Feature map.
      embedding: Embedding of noise level and conditioning.
      train: Whether to apply dropout, which needs the "dropout" key.

    Returns:
      Feature map with F = `features` channels.
    """
    resampling: dict[str, Any] = dict(
      up=self.up, down=self.down, taps=self.taps
    )
    common: dict[str, Any] = dict(initial=self.initial, dtype=self.dtype)
    last: dict[str, Any] = dict(initial=self.initial_last, dtype=self.dtype)
    skip = x

    x = nn.silu(self._norm("norm0", x))
    x = Conv(self.features, name="conv0", **resampling, **common)(x)
    width = self.features * (1 + self.adaptive_scale)
    modulation = Linear(width, name="affine", initial=self.initial)(embedding)
    modulation = modulation[:, None, None].astype(x.dtype)
    if self.adaptive_scale:
      scale, shift = jnp.split(modulation, 2, axis=-1)
      x = nn.silu(shift + self._norm("norm1", x) * (1 + scale))
    else:
      x = nn.silu(self._norm("norm1", x + modulation))
    x = nn.Dropout(self.dropout, deterministic=not train, name="drop")(x)
    x = Conv(self.features, name="conv1", **last)(x)

    widens = skip.shape[-1] != self.features
    if widens or self.up or self.down:
      size = int(self.resample_proj or widens)
      skip_conv = Conv(self.features, size, name="skip", **resampling, **common)
      skip = skip_conv(skip)
    x = (x + skip) * self.skip_scale
    if self.num_heads:
      x = (x + self._attention(x, embedding)) * self.skip_scale
    return x

  def _norm(self, name, x):
    return group_norm(name, x, self.epsilon, self.dtype)

  def _attention(self, x, embedding):
    _, height, width, channels = x.shape
    initial = self.initial_attn or self.initial
    normed = self._norm("norm2", x)
    qkv = Conv(3 * channels, 1, initial=initial, dtype=self.dtype, name="qkv")(
      normed
    )
    bias = None
    if self.tmsa:
      projection = Linear(3 * channels, initial=initial, name="time_qkv")
      shift = projection(embedding)[:, None, None]
      qkv = qkv + shift.astype(qkv.dtype)
      num_offsets = (2 * height - 1) * (2 * width - 1)
      table = self.param(
        "position_bias",
        nn.initializers.normal(0.02),
        (num_offsets, self.num_heads),
        jnp.float32,
      )
      bias = relative_position_bias(table, (height, width))[None]
    # The official channel order: head, channel, then query, key, value.
    heads = len(x), height * width, self.num_heads, -1, 3
    q, k, v = jnp.moveaxis(qkv.reshape(heads), -1, 0)
    sow_probabilities(self, q, k, bias)
    out = attend(q, k, v, bias, self.attention).reshape(x.shape)
    proj = Conv(
      channels, 1, initial=self.initial_last, dtype=self.dtype, name="proj"
    )
    return proj(out)
