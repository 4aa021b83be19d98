"""Convolutions that halve or double the resolution, as EDM's networks do."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Init:
  """How EDM's layers start; biases are drawn like the weights.

  Attributes:
    mode: "xavier_uniform", "kaiming_uniform" or "kaiming_normal" (gain 1).
    weight: factor on the weights.
    bias: factor on the biases; 0 starts them at zero.
  """

  mode: str = "xavier_uniform"
  weight: float = 1.0
  bias: float = 0.0

  def initializer(self, factor: float, fan_in: int, fan_out: int):
    """The initialiser of an array with these fans, whatever its shape."""
    if factor == 0:
      return nn.initializers.zeros
    if self.mode == "kaiming_normal":
      return nn.initializers.normal(factor * math.sqrt(1 / fan_in))
    limit = math.sqrt(
      6 / (fan_in + fan_out) if self.mode == "xavier_uniform" else 3 / fan_in
    )

    def uniform(key, shape, dtype=jnp.float32):
      return factor * jax.random.uniform(key, shape, dtype, -limit, limit)

    return uniform


class Linear(nn.Module):
  """A dense layer with EDM's start.

  Attributes:
    features: width of the result.
    use_bias: whether it has a bias.
    initial: how it starts.
    dtype: type of the product; None is float32.
  """

  features: int
  use_bias: bool = True
  initial: Init = Init()
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., D) to (..., features)."""
    fans = x.shape[-1], self.features
    weight = self.initial.initializer(self.initial.weight, *fans)
    kernel = self.param("kernel", weight, fans)
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    x = x @ kernel
    if self.use_bias:
      start = self.initial.initializer(self.initial.bias, *fans)
      x = x + self.param("bias", start, (self.features,)).astype(x.dtype)
    return x


class Conv(nn.Module):
  """A convolution, or resampling, or both; all padding is with zeros.

  Attributes:
    features: channels of the result.
    kernel_size: side of the kernel; 0 only resamples, without parameters.
    up: doubles the resolution before the kernel.
    down: halves it before the kernel, or after it if `fused`.
    taps: of the resampling filter.
    fused: resamples with the kernel's padding taken into account.
    use_bias: whether it has a bias.
    initial: how it starts.
    dtype: type of the products; None is float32.
  """

  features: int
  kernel_size: int = 3
  up: bool = False
  down: bool = False
  taps: tuple[int, ...] = (1, 1)
  fused: bool = False
  use_bias: bool = True
  initial: Init = Init()
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) to (B, H', W', features)."""
    size = self.kernel_size
    inner, blur = size // 2, (len(self.taps) - 1) // 2
    fused = self.fused and size > 0
    if self.up:
      x = upsample(x, self.taps, max(blur - inner, 0) if fused else blur)
    elif self.down and not fused:
      x = downsample(x, self.taps)
    if not size:
      return x
    if fused:
      inner = max(inner - blur, 0) if self.up else inner + blur
    shape = size, size, x.shape[-1], self.features
    fans = size * size * shape[2], size * size * shape[3]
    weight = self.initial.initializer(self.initial.weight, *fans)
    kernel = self.param("kernel", weight, shape)
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    x = jax.lax.conv_general_dilated(
      x, kernel, (1, 1), [(inner, inner)] * 2, dimension_numbers=_LAYOUT
    )
    if self.down and fused:
      x = downsample(x, self.taps, padding=0)
    if self.use_bias:
      start = self.initial.initializer(self.initial.bias, *fans)
      x = x + self.param("bias", start, (self.features,)).astype(x.dtype)
    return x


def upsample(x: jax.Array, taps: tuple[int, ...], padding: int | None = None):
  """Doubles the resolution with a separable filter; zeros outside.

  Args:
    x: (B, H, W, C).
    taps: of the filter, of any sum; (1, 1) repeats pixels.
    padding: what to cut from the ends of the full result; by default so much
      that an even number of taps gives exactly 2H by 2W.
  """
  padding = (len(taps) - 1) // 2 if padding is None else padding
  if taps == (1, 1) and padding == 0:
    return x.repeat(2, axis=1).repeat(2, axis=2)
  kernel = np.flip(4 * _kernel(taps))
  return _depthwise(x, kernel, padding=len(taps) - 1 - padding, dilation=2)


def downsample(x: jax.Array, taps: tuple[int, ...], padding: int | None = None):
  """Halves the resolution; see `upsample`. (1, 1) takes the mean of four."""
  padding = (len(taps) - 1) // 2 if padding is None else padding
  if taps == (1, 1) and padding == 0:
    batch, height, width, channels = x.shape
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return cells.mean((2, 4))
  return _depthwise(x, _kernel(taps), padding=padding, stride=2)


def _kernel(taps):
  taps = np.asarray(taps, np.float64)
  return np.outer(taps, taps) / taps.sum() ** 2


def _depthwise(x, kernel, padding, stride=1, dilation=1):
  channels = x.shape[-1]
  kernel = np.tile(kernel[:, :, None, None], (1, 1, 1, channels))
  return jax.lax.conv_general_dilated(
    x,
    jnp.asarray(kernel, x.dtype),
    (stride, stride),
    [(padding, padding)] * 2,
    lhs_dilation=(dilation, dilation),
    dimension_numbers=_LAYOUT,
    feature_group_count=channels,
  )
