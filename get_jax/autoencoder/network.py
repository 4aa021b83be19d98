"""Encoder and decoder of the KL-autoencoder.

Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models,
2022, appendix G. This is the variant of Stable Diffusion: it has attention only
in the middle and no timestep.
"""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from get_jax.nn.attention_maps import sow_probabilities

EPSILON = 1e-6  # Of all group norms.


class ResnetBlock(nn.Module):
  """Residual block: twice group norm, SiLU and 3x3 convolution.

  Attributes:
    features: Channels of the result. If the input has another number, the
      shortcut is a 1x1 convolution.
    groups: Groups of the group norms.
    dtype: Dtype of the products; None is float32.
  """

  features: int
  groups: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W F"]:
    """Applies the block; F is `features`."""
    h = x
    for number in (1, 2):
      h = _norm(self, f"norm{number}")(h)
      h = _conv(self, self.features, f"conv{number}")(nn.silu(h))
    if x.shape[-1] != self.features:
      shortcut = nn.Conv(
        self.features, (1, 1), dtype=self.dtype, name="shortcut"
      )
      x = shortcut(x)
    return x + h


class Attention(nn.Module):
  """Self-attention over all positions with one head of the full width.

  Attributes:
    groups: Groups of the group norm.
    dtype: Dtype of the products; None is float32.
  """

  groups: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Applies the layer."""
    batch, height, width, channels = x.shape
    tokens = _norm(self, "norm")(x).reshape(batch, height * width, channels)
    q, k, v = (
      nn.Dense(channels, dtype=self.dtype, name=name)(tokens)[:, :, None]
      for name in ("q", "k", "v")
    )
    sow_probabilities(self, q, k)
    out = jax.nn.dot_product_attention(q, k, v)[:, :, 0]
    out = nn.Dense(channels, dtype=self.dtype, name="out")(out)
    return x + out.reshape(x.shape)


class NetworkBase(nn.Module):
  """Fields of encoder and decoder.

  Attributes:
    widths: Channels of the levels, finest first.
    layers: Residual blocks per level of the encoder; the decoder has one more.
    features: Channels of the result.
    groups: Groups of the group norms.
    dtype: Dtype of the products; None is float32.
  """

  widths: tuple[int, ...]
  layers: int
  features: int
  groups: int
  dtype: Any = None


class Encoder(NetworkBase):
  """Maps images to features with sides 2^(levels - 1) times smaller.

  For the fields see `NetworkBase`.
  """

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w F"]:
    """Encodes images; rows and columns beyond a multiple of the factor are cut.

    F is `features`.
    """
    x = _conv(self, self.widths[0], "conv_in")(x)
    for level, width in enumerate(self.widths):
      for layer in range(self.layers):
        x = _block(self, width, f"level_{level}_block_{layer}")(x)
      if level < len(self.widths) - 1:
        # Pads one row below and one column to the right, also for odd sizes.
        x = nn.Conv(
          width,
          (3, 3),
          strides=2,
          padding=((0, 1), (0, 1)),
          dtype=self.dtype,
          name=f"level_{level}_down",
        )(x)
    return _head(self, _middle(self, x))


class Decoder(NetworkBase):
  """Maps latents to images; for the fields see `NetworkBase`.

  Level 0 is the coarsest and has the last of the widths.
  """

  @nn.compact
  def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B H W F"]:
    """Decodes latents; F is `features`."""
    x = _middle(self, _conv(self, self.widths[-1], "conv_in")(x))
    for level, width in enumerate(reversed(self.widths)):
      for layer in range(self.layers + 1):
        x = _block(self, width, f"level_{level}_block_{layer}")(x)
      if level < len(self.widths) - 1:
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = _conv(self, width, f"level_{level}_up")(x)
    return _head(self, x)


# These functions are called from compact methods: the submodules that they
# create belong to the calling module.


def _norm(module, name):
  return nn.GroupNorm(
    module.groups, epsilon=EPSILON, dtype=module.dtype, name=name
  )


def _conv(module, features, name):
  return nn.Conv(features, (3, 3), padding=1, dtype=module.dtype, name=name)


def _block(module, width, name):
  return ResnetBlock(width, module.groups, module.dtype, name=name)


def _middle(module, x):
  width = x.shape[-1]
  x = _block(module, width, "mid_block_0")(x)
  x = Attention(module.groups, module.dtype, name="mid_attention")(x)
  return _block(module, width, "mid_block_1")(x)


def _head(module, x):
  x = nn.silu(_norm(module, "norm_out")(x))
  return _conv(module, module.features, "conv_out")(x)
