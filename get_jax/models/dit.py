"""DiT: diffusion transformers (Peebles and Xie, 2023).

Sizes and block designs are those of the paper. The official code has only
adaLN-Zero; the layout of the other three follows from the paper's parameter
counts and Gflops (which are multiply-adds). All norms are without scale and
shift of their own, as in the official code; the paper's rounded counts allow
either.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.adaln import AdaLNBlock, FinalLayer
from get_jax.nn.attention import SelfAttention, attend
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import XAVIER, ZEROS, Linear
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.patches import as_pair, patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable
from get_jax.nn.timestep_embedding import TimestepEmbed
from get_jax.nn.tmsa import DiffiTBlock
from get_jax.nn.transformer_block import Block, layer_norm

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
  """Image tokens look at the few tokens of the condition."""

  num_heads: int
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
    """(B, N, D) queries and (B, M, D) context to (B, N, D)."""
    dim = x.shape[-1]

    def project(features, name):
      return Linear(features, dtype=self.dtype, name=name)

    def heads(x):
      return x.reshape(*x.shape[:2], self.num_heads, -1)

    q = heads(project(dim, "q")(x))
    k, v = jnp.split(project(2 * dim, "kv")(context), 2, axis=-1)
    out = attend(q, heads(k), heads(v), implementation=self.attention)
    return project(dim, "proj")(out.reshape(x.shape))


class CrossAttentionBlock(nn.Module):
  """Self-attention, cross-attention to the condition, perceptron."""

  num_heads: int
  mlp_ratio: float
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
    """(B, N, D) tokens and (B, M, D) context to (B, N, D)."""
    common = dict(attention=self.attention, dtype=self.dtype)
    attn = SelfAttention(self.num_heads, name="attn", **common)
    cross = CrossAttention(self.num_heads, name="cross", **common)
    mlp = Mlp(
      int(x.shape[-1] * self.mlp_ratio),
      gelu_tanh,
      dtype=self.dtype,
      name="mlp",
    )
    x = x + attn(layer_norm("norm1", affine=False)(x))
    x = x + cross(layer_norm("norm_cross", affine=False)(x), context)
    return x + mlp(layer_norm("norm2", affine=False)(x))


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
    block: how the condition enters: "adaLN-Zero", "adaLN", "in-context" (time
      and label as further tokens), "cross-attention" (to these two tokens) or
      "TMSA" (DiffiT's; it makes DiT-XL/2 the latent DiffiT).
    num_classes: classes of the condition; 0 makes the network unconditional.
    null_class: whether label `num_classes` stands for "no class".
    learn_sigma: twice the output channels, the second half for the variance.
    dtype: type of the matrix products; None is float32.
    attention: implementation, see `get_jax.nn.attention.attend`.
    scan: trace one block and loop over it.
    remat: see `get_jax.nn.block_stack.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  patch_size: int = 2
  in_channels: int = 4
  hidden_size: int = 1152
  depth: int = 28
  num_heads: int = 16
  mlp_ratio: float = 4.0
  block: str = "adaLN-Zero"
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

    Raises:
      UsageError: fields that do not fit each other, or labels missing.
    """
    del train
    grid = patch_grid(self.input_size, self.patch_size)
    tokens = Linear(self.hidden_size, dtype=self.dtype, name="patch_embed")(
      patchify(x, self.patch_size)
    )
    tokens = PositionTable(grid, name="positions")(tokens)
    embeddings = [TimestepEmbed(self.hidden_size, name="time_embed")(t)]
    if self.num_classes:
      label_embed = LabelEmbed(
        self.num_classes, self.hidden_size, self.null_class, name="label_embed"
      )
      embeddings.append(label_embed(y))

    run = dict(scan=self.scan, remat=self.remat)
    blocks = [self._block(f"blocks_{i}") for i in range(self.depth)]
    condition = None
    if self.block in ("adaLN-Zero", "adaLN"):
      condition = nn.silu(sum(embeddings))
      tokens = apply_blocks(blocks, tokens, condition, **run)
    elif self.block == "TMSA":
      tokens = apply_blocks(blocks, tokens, sum(embeddings), **run)
    elif self.block == "in-context":
      count = tokens.shape[1]
      tokens = jnp.concatenate([tokens, jnp.stack(embeddings, 1)], axis=1)
      tokens = apply_blocks(blocks, tokens, **run)[:, :count]
    else:
      context = jnp.stack(embeddings, axis=1)
      tokens = apply_blocks(blocks, tokens, context, **run)

    channels = self.in_channels * (1 + self.learn_sigma)
    final = FinalLayer(
      self.patch_size**2 * channels,
      head_init=XAVIER if self.block == "adaLN" else ZEROS,
      activation=nn.silu if self.block == "TMSA" else None,
      dtype=self.dtype,
      name="final_layer",
    )
    return unpatchify(final(tokens, condition), grid, self.patch_size)

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes and types of the call's arguments."""
    size = (batch_size, *as_pair(self.input_size), self.in_channels)
    x = jax.ShapeDtypeStruct(size, jnp.float32)
    t = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    y = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return x, t, (y if self.num_classes else None)

  def _block(self, name: str) -> nn.Module:
    common = dict(
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
