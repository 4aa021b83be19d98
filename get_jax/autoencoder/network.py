"""Halves of the KL-autoencoder: residual levels round an attention.

Rombach et al. 2022, appendix G; the variant of Stable Diffusion, which has
attention in the middle alone and no timestep.
"""

from typing import Any

import flax.linen as nn
import jax

EPSILON = 1e-6  # of every group norm


class ResnetBlock(nn.Module):
  """Two normalised 3x3 convolutions with a shortcut.

  Attributes:
    features: channels of the result; the shortcut is a 1x1 convolution where
      the input has another number.
    groups: of the group norms.
    dtype: type of the products; None is float32.
  """

  features: int
  groups: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) to (B, H, W, features)."""
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
  """Attention over all positions with one head of the full width."""

  groups: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) to the same shape."""
    batch, height, width, channels = x.shape
    tokens = _norm(self, "norm")(x).reshape(batch, height * width, channels)
    q, k, v = (
      nn.Dense(channels, dtype=self.dtype, name=name)(tokens)[:, :, None]
      for name in ("q", "k", "v")
    )
    mixed = jax.nn.dot_product_attention(q, k, v)[:, :, 0]
    mixed = nn.Dense(channels, dtype=self.dtype, name="out")(mixed)
    return x + mixed.reshape(x.shape)


class Encoder(nn.Module):
  """Images to 2^(levels - 1) times smaller features.

  Attributes:
    widths: channels of the levels, finest first.
    layers: residual blocks a level.
    features: channels of the result.
    groups: of the group norms.
    dtype: type of the products; None is float32.
  """

  widths: tuple[int, ...]
  layers: int
  features: int
  groups: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, H, W, C) to (B, h, w, features); odd rows and columns are cut."""
    x = _conv(self, self.widths[0], "conv_in")(x)
    for level, width in enumerate(self.widths):
      for layer in range(self.layers):
        x = _block(self, width, f"level_{level}_block_{layer}")(x)
      if level < len(self.widths) - 1:
        # One row and column below and to the right, for odd sizes too.
        x = nn.Conv(
          width,
          (3, 3),
          strides=2,
          padding=((0, 1), (0, 1)),
          dtype=self.dtype,
          name=f"level_{level}_down",
        )(x)
    return _head(self, _middle(self, x))


class Decoder(nn.Module):
  """Latents to images; attributes as `Encoder`, one more block a level.

  Level 0 is the coarsest, of the last width.
  """

  widths: tuple[int, ...]
  layers: int
  features: int
  groups: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, h, w, C) to (B, H, W, features)."""
    x = _middle(self, _conv(self, self.widths[-1], "conv_in")(x))
    for level, width in enumerate(reversed(self.widths)):
      for layer in range(self.layers + 1):
        x = _block(self, width, f"level_{level}_block_{layer}")(x)
      if level < len(self.widths) - 1:
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = _conv(self, width, f"level_{level}_up")(x)
    return _head(self, x)


# Called from the compact methods, so what they make belongs to the module.


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
