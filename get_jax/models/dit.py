"""DiT: diffusion transformers (Peebles and Xie, 2023).

Sizes and block designs are those of the paper; where it is silent, of the
official code. Its parameter counts leave the position table out, and its
"Gflops" are multiply-adds.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.nn.attention import SelfAttention
from get_jax.nn.label import LabelEmbed
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.positions import PositionTable
from get_jax.nn.sequence import apply_blocks
from get_jax.nn.timestep import TimestepEmbed

SIZES = {
  "S": dict(hidden_size=384, depth=12, num_heads=6),
  "B": dict(hidden_size=768, depth=12, num_heads=12),
  "L": dict(hidden_size=1024, depth=24, num_heads=16),
  "XL": dict(hidden_size=1152, depth=28, num_heads=16),
}
VARIANTS = {
  f"DiT-{size}/{patch_size}": dict(patch_size=patch_size, **fields)
  for size, fields in SIZES.items()
  for patch_size in (2, 4, 8)
}

XAVIER = nn.initializers.xavier_uniform()
ZEROS = nn.initializers.zeros_init()


def plain_norm(name: str) -> nn.LayerNorm:
  """Layer normalisation without scale and shift, in float32."""
  return nn.LayerNorm(
    epsilon=1e-6,
    use_scale=False,
    use_bias=False,
    use_fast_variance=False,
    dtype=jnp.float32,
    name=name,
  )


def modulate(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
  """x (1 + scale) + shift, with (B, D) vectors over (B, N, D) tokens."""
  return x * (1 + scale[:, None]) + shift[:, None]


class AdaLNZeroBlock(nn.Module):
  """Transformer block whose norms and gates are read off the condition.

  The head that makes shifts, scales and gates starts at zero, so the block
  starts as the identity.
  """

  num_heads: int
  mlp_ratio: float
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
    """(B, N, D) tokens and silu(c) of shape (B, D) to (B, N, D)."""
    dim = x.shape[-1]
    compute = dict(dtype=self.dtype)
    head = nn.Dense(6 * dim, kernel_init=ZEROS, name="adaln", **compute)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.split(
      head(condition), 6, axis=-1
    )
    h = modulate(plain_norm("norm1")(x), shift_1, scale_1)
    attn = SelfAttention(
      self.num_heads, attention=self.attention, name="attn", **compute
    )
    x = x + gate_1[:, None] * attn(h)
    h = modulate(plain_norm("norm2")(x), shift_2, scale_2)
    mlp = Mlp(int(dim * self.mlp_ratio), gelu_tanh, name="mlp", **compute)
    return x + gate_2[:, None] * mlp(h)


class FinalLayer(nn.Module):
  """Norm, modulation by the condition, projection to patches."""

  features: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
    """(B, N, D) tokens and silu(c) to (B, N, features) float32."""
    head = nn.Dense(
      2 * x.shape[-1], kernel_init=ZEROS, dtype=self.dtype, name="adaln"
    )
    shift, scale = jnp.split(head(condition), 2, axis=-1)
    x = modulate(plain_norm("norm")(x), shift, scale)
    return nn.Dense(self.features, kernel_init=ZEROS, name="linear")(x)


class DiT(nn.Module):
  """A denoiser: transformer over the patches of a latent or an image.

  Attributes:
    input_size: height and width of what the network sees; one number if equal.
    patch_size: side of a patch.
    in_channels: channels of the input.
    hidden_size: width D of the tokens.
    depth: number of blocks.
    num_heads: attention heads.
    mlp_ratio: hidden width of the perceptrons over D.
    num_classes: classes of the condition; 0 makes the network unconditional.
    null_class: whether label `num_classes` stands for "no class".
    learn_sigma: twice the output channels, the second half for the variance.
    dtype: type of the matrix products; None is float32.
    attention: implementation, see `get_jax.nn.attention.attend`.
    scan: trace one block and loop over it.
    remat: see `get_jax.nn.sequence.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  patch_size: int = 2
  in_channels: int = 4
  hidden_size: int = 1152
  depth: int = 28
  num_heads: int = 16
  mlp_ratio: float = 4.0
  num_classes: int = 1000
  null_class: bool = True
  learn_sigma: bool = True
  dtype: Any = None
  attention: str = "auto"
  scan: bool = False
  remat: str = "none"

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    t: jax.Array,
    y: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Predicts noise, and variances where `learn_sigma`.

    Args:
      x: (B, H, W, C) noisy input.
      t: (B,) times as the diffusion process counts them, 0 to 999 for the
        published models.
      y: (B,) labels, `num_classes` for the null class; None if unconditional.
      train: without effect; every denoiser takes it.

    Returns:
      (B, H, W, C) float32, or 2C channels with `learn_sigma`: first the
      noise, then the interpolation weights of the variance.
    """
    del train
    grid = patch_grid(self.input_size, self.patch_size)
    compute = dict(dtype=self.dtype)
    tokens = nn.Dense(
      self.hidden_size, kernel_init=XAVIER, name="patch_embed", **compute
    )(patchify(x, self.patch_size))
    tokens = PositionTable(grid, name="positions")(tokens)

    condition = TimestepEmbed(self.hidden_size, name="time_embed")(t)
    if self.num_classes:
      condition += LabelEmbed(
        self.num_classes, self.hidden_size, self.null_class, name="label_embed"
      )(y)
    condition = nn.silu(condition)

    blocks = [
      AdaLNZeroBlock(
        self.num_heads,
        self.mlp_ratio,
        self.attention,
        name=f"blocks_{i}",
        **compute,
      )
      for i in range(self.depth)
    ]
    tokens = apply_blocks(
      blocks, tokens, condition, scan=self.scan, remat=self.remat
    )
    channels = self.in_channels * (1 + self.learn_sigma)
    patches = FinalLayer(
      self.patch_size**2 * channels, name="final_layer", **compute
    )(tokens, condition)
    return unpatchify(patches, grid, self.patch_size)
