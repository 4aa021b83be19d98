"""DiT: diffusion transformers (Peebles and Xie, 2023).

Sizes and block designs are those of the paper. The official code contains only
adaLN-Zero; the layout of the other three designs follows from the paper's
parameter counts and Gflops (which are multiply-adds). No norm has a learned
scale or shift, as in the official code; the paper's rounded counts allow
either.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from get_jax.errors import UsageError
from get_jax.models.base import Denoiser, PatchTransformer
from get_jax.nn.adaln import AdaLNBlock, FinalLayer
from get_jax.nn.attention import SelfAttention, attend
from get_jax.nn.attention_maps import sow_probabilities
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import XAVIER, ZEROS, Linear
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable
from get_jax.nn.timestep_embedding import TimestepEmbed, add_scalars
from get_jax.nn.tmsa import DiffiTBlock
from get_jax.nn.transformer_block import Block, add_branch, layer_norm

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
BLOCKS = ("adaLN-Zero", "adaLN", "in-context", "cross-attention", "TMSA")


class CrossAttention(nn.Module):
  """Cross-attention from image tokens to the conditioning tokens.

  Attributes:
    num_heads: Number of attention heads.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N D"], context: Float[Array, "B M D"]
  ) -> Float[Array, "B N D"]:
    """Applies attention with queries from `x` and keys from `context`."""
    dim = x.shape[-1]

    def project(features, name):
      return Linear(features, dtype=self.dtype, name=name)

    def heads(x):
      return x.reshape(*x.shape[:2], self.num_heads, -1)

    q = heads(project(dim, "q")(x))
    k, v = jnp.split(project(2 * dim, "kv")(context), 2, axis=-1)
    k, v = heads(k), heads(v)
    sow_probabilities(self, q, k)
    out = attend(q, k, v, implementation=self.attention)
    return project(dim, "proj")(out.reshape(x.shape))


class CrossAttentionBlock(nn.Module):
  """Self-attention, cross-attention to the conditioning, MLP.

  Attributes:
    num_heads: Number of attention heads.
    mlp_ratio: Hidden width of the MLP divided by the token width D.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  mlp_ratio: float
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N D"], context: Float[Array, "B M D"]
  ) -> Float[Array, "B N D"]:
    """Applies the block to tokens `x` with conditioning tokens `context`."""
    common: dict[str, Any] = dict(attention=self.attention, dtype=self.dtype)
    attn = SelfAttention(self.num_heads, name="attn", **common)
    cross = CrossAttention(self.num_heads, name="cross", **common)
    mlp = Mlp(
      int(x.shape[-1] * self.mlp_ratio),
      gelu_tanh,
      dtype=self.dtype,
      name="mlp",
    )
    x = add_branch(x, attn(layer_norm("norm1", affine=False)(x)))
    normed = layer_norm("norm_cross", affine=False)(x)
    x = add_branch(x, cross(normed, context))
    return add_branch(x, mlp(layer_norm("norm2", affine=False)(x)))


class DiT(PatchTransformer, Denoiser):
  """Denoiser: transformer over the patches of a latent or an image.

  For the other fields see `get_jax.models.base`.

  Attributes:
    depth: Number of blocks.
    block: How the conditioning enters: "adaLN-Zero", "adaLN", "in-context"
      (time and label as additional tokens), "cross-attention" (to these two
      tokens) or "TMSA" (DiffiT's; with it DiT-XL/2 is the latent DiffiT).
    learn_sigma: Whether the output has twice the channels, the second half for
      the variance.
  """

  in_channels: int = 4
  hidden_size: int = 1152
  depth: int = 28
  num_heads: int = 16
  block: str = "adaLN-Zero"
  num_classes: int = 1000
  null_class: bool = True
  learn_sigma: bool = True

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    t: Real[Array, " B"],
    y: Int[Array, " B"] | None = None,
    train: bool = False,
    **scalars: Real[Array, " B"],
  ) -> Float[Array, "B H W C2"]:
    """Predicts noise, and variances with `learn_sigma`.

    Args:
      x: Noisy input.
      t: Times of the diffusion process, 0 to 999 for the published models.
      y: Labels, `num_classes` for the null class; None if unconditional.
      train: Unused; every denoiser accepts it.
      **scalars: Further inputs, those of the field `scalars`.

    Returns:
      The predicted noise in float32. With `learn_sigma` there are 2C channels:
      the noise, then the interpolation weights of the variance.

    Raises:
      UsageError: A field has an invalid value, fields do not fit together, or
        labels or scalars are missing.
    """
    del train
    grid = patch_grid(self.input_size, self.patch_size)
    tokens = Linear(self.hidden_size, dtype=self.dtype, name="patch_embed")(
      patchify(x, self.patch_size)
    )
    tokens = PositionTable(grid, name="positions")(tokens)
    time = TimestepEmbed(self.hidden_size, name="time_embed")(t)
    embeddings = [add_scalars(time, self.check_scalars(scalars))]
    if self.num_classes:
      label_embed = LabelEmbed(
        self.num_classes, self.hidden_size, self.null_class, name="label_embed"
      )
      embeddings.append(label_embed(y))

    options: dict[str, Any] = dict(scan=self.scan, remat=self.remat)
    blocks = [self._block(f"blocks_{i}") for i in range(self.depth)]
    conditioning = None
    if self.block in ("adaLN-Zero", "adaLN"):
      conditioning = nn.silu(sum(embeddings))
      tokens = apply_blocks(blocks, tokens, conditioning, **options)
    elif self.block == "TMSA":
      tokens = apply_blocks(blocks, tokens, sum(embeddings), **options)
    elif self.block == "in-context":
      count = tokens.shape[1]
      tokens = jnp.concatenate([tokens, jnp.stack(embeddings, 1)], axis=1)
      tokens = apply_blocks(blocks, tokens, **options)[:, :count]
    else:
      context = jnp.stack(embeddings, axis=1)
      tokens = apply_blocks(blocks, tokens, context, **options)

    channels = self.in_channels * (1 + self.learn_sigma)
    final = FinalLayer(
      self.patch_size**2 * channels,
      head_init=XAVIER if self.block == "adaLN" else ZEROS,
      activation=nn.silu if self.block == "TMSA" else None,
      dtype=self.dtype,
      name="final_layer",
    )
    return unpatchify(final(tokens, conditioning), grid, self.patch_size)

  def _block(self, name: str) -> nn.Module:
    common: dict[str, Any] = dict(
      num_heads=self.num_heads,
      mlp_ratio=self.mlp_ratio,
      attention=self.attention,
      dtype=self.dtype,
      name=name,
    )
    match self.block:
      case "adaLN-Zero" | "adaLN":
        return AdaLNBlock(zero=self.block == "adaLN-Zero", **common)
      case "in-context":
        return Block(activation=gelu_tanh, affine=False, **common)
      case "cross-attention":
        return CrossAttentionBlock(**common)
      case "TMSA":
        grid = patch_grid(self.input_size, self.patch_size)
        return DiffiTBlock(window=grid, **common)
    raise UsageError(
      f"block is {self.block!r}; expected one of: {', '.join(BLOCKS)}"
    )
