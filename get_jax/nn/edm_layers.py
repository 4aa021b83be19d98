"""Layers of EDM's networks: initialisation, dense layer and convolution.

The convolutions can halve or double the resolution. See Karras et al.,
"Elucidating the Design Space of Diffusion-Based Generative Models", 2022.
"""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Init:
  """Initialisation of EDM's layers, the same for weights and biases.

  Attributes:
    mode: "xavier_uniform", "kaiming_uniform" or "kaiming_normal" (gain 1).
    weight: Factor on the weights.
    bias: Factor on the biases; 0 initialises them with zeros.
  """

  mode: str = "xavier_uniform"
  weight: float = 1.0
  bias: float = 0.0

  def initializer(
    self, factor: float, fan_in: int, fan_out: int
  ) -> nn.initializers.Initializer:
    """Returns the initialiser for these fans; it accepts any shape."""
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
  """Dense layer with EDM's initialisation.

  Attributes:
    features: Width of the result.
    use_bias: Whether the layer has a bias.
    initial: Initialisation of kernel and bias.
    dtype: Dtype of the product; None is float32.
  """

  features: int
  use_bias: bool = True
  initial: Init = Init()
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... E"]:
    """Applies the layer; E is `features`."""
    fans = x.shape[-1], self.features
    kernel_init = self.initial.initializer(self.initial.weight, *fans)
    kernel = self.param("kernel", kernel_init, fans, jnp.float32)
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    x = x @ kernel
    if self.use_bias:
      bias_init = self.initial.initializer(self.initial.bias, *fans)
      x = add_bias(
        x, self.param("bias", bias_init, (self.features,), jnp.float32)
      )
    return x


class Conv(nn.Module):
  """Convolution, resampling, or both; all padding is with zeros.

  Attributes:
    features: Channels of the result.
    kernel_size: Side of the kernel; 0 only resamples and has no parameters.
    up: Whether to double the resolution before the convolution.
    down: Whether to halve the resolution: before the convolution, or after it
      if `fused`.
    taps: Taps of the resampling filter.
    fused: Whether resampling and convolution share their padding.
    use_bias: Whether the convolution has a bias.
    initial: Initialisation of kernel and bias.
    dtype: Dtype of the products; None is float32.
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
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H2 W2 E"]:
    """Applies the layer; E is `features`."""
    size = self.kernel_size
    conv_padding, filter_padding = size // 2, (len(self.taps) - 1) // 2
    fused = self.fused and size > 0
    if self.up:
      cut = max(filter_padding - conv_padding, 0) if fused else filter_padding
      x = upsample(x, self.taps, cut)
    elif self.down and not fused:
      x = downsample(x, self.taps)
    if not size:
      return x
    if fused:
      conv_padding = (
        max(conv_padding - filter_padding, 0)
        if self.up
        else conv_padding + filter_padding
      )
    shape = size, size, x.shape[-1], self.features
    fans = size * size * shape[2], size * size * shape[3]
    kernel_init = self.initial.initializer(self.initial.weight, *fans)
    kernel = self.param("kernel", kernel_init, shape, jnp.float32)
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    x = jax.lax.conv_general_dilated(
      x,
      kernel,
      (1, 1),
      [(conv_padding, conv_padding)] * 2,
      dimension_numbers=_LAYOUT,
    )
    if self.down and fused:
      x = downsample(x, self.taps, padding=0)
    if self.use_bias:
      bias_init = self.initial.initializer(self.initial.bias, *fans)
      x = add_bias(
        x, self.param("bias", bias_init, (self.features,), jnp.float32)
      )
    return x


def add_bias(
  x: Float[Array, "... E"], bias: Float[Array, " E"]
) -> Float[Array, "... E"]:
  """Adds a bias to the last axis, in the dtype of x."""
  return x + bias.reshape((1,) * (x.ndim - 1) + bias.shape).astype(x.dtype)


def upsample(
  x: Float[Array, "B H W C"],
  taps: tuple[int, ...],
  padding: int | None = None,
) -> Float[Array, "B H2 W2 C"]:
  """Doubles the resolution with a separable filter; zeros outside the image.

  Args:
    x: Images or feature maps.
    taps: Taps of the filter, with any sum; (1, 1) repeats pixels.
    padding: Rows and columns to cut from each end of the full result. By
      default, an even number of taps gives exactly 2H by 2W.
  """
  padding = (len(taps) - 1) // 2 if padding is None else padding
  if taps == (1, 1) and padding == 0:
    return x.repeat(2, axis=1).repeat(2, axis=2)
  kernel = np.flip(4 * _kernel(taps))
  return _depthwise(x, kernel, padding=len(taps) - 1 - padding, dilation=2)


def downsample(
  x: Float[Array, "B H W C"],
  taps: tuple[int, ...],
  padding: int | None = None,
) -> Float[Array, "B H2 W2 C"]:
  """Halves the resolution with a separable filter; zeros outside the image.

  Args:
    x: Images or feature maps.
    taps: Taps of the filter, with any sum; (1, 1) averages four pixels.
    padding: Rows and columns of zeros at each end. By default, an even number
      of taps gives exactly H/2 by W/2.
  """
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
