"""The network of improved MeanFlow (Geng et al., 2025).

A transformer without position table: queries and keys are rotated by their
position in the sequence. All conditioning is in tokens before those of the
patches. The last blocks exist twice: one head predicts the average velocity u,
the other the velocity v. Layout and sizes follow the official code, which
produced the published numbers.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from get_jax.errors import UsageError
from get_jax.models.base import Denoiser, PatchTransformer
from get_jax.nn.attention import attend
from get_jax.nn.attention_maps import sow_probabilities
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import ZEROS, Linear
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.rotary import rotate_by_position
from get_jax.nn.timestep_embedding import TimestepEmbed
from get_jax.nn.transformer_block import add_branch

# The depths include the blocks of one head.
SIZES = {
  "B": dict(hidden_size=768, depth=12, num_heads=12),
  "M": dict(hidden_size=768, depth=24, num_heads=12),
  "L": dict(hidden_size=1024, depth=32, num_heads=16),
  "XL": dict(hidden_size=1024, depth=48, num_heads=16),
}
VARIANTS = {
  f"iMF-{size}/2": dict(patch_size=2, **fields)
  for size, fields in SIZES.items()
}
# Standard deviation of a kernel: this over the root of the number of inputs.
EMBEDDING_SCALE = 1.0
BLOCK_SCALE = 0.32


def fan_in_normal(scale: float) -> nn.initializers.Initializer:
  """Returns a normal initialiser with deviation scale / sqrt(inputs)."""
  return nn.initializers.variance_scaling(scale**2, "fan_in", "normal")


def rms_norm(name: str) -> nn.RMSNorm:
  """Returns a float32 RMS norm with a learned scale."""
  return nn.RMSNorm(epsilon=1e-6, dtype=jnp.float32, name=name)


class RotaryAttention(nn.Module):
  """Self-attention with normalised and rotated queries and keys, no biases.

  Attributes:
    num_heads: Number of attention heads; must divide the token width D.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    """Applies self-attention."""
    dim = x.shape[-1]

    def project(name):
      return _linear(dim, self.dtype, name)(x).reshape(
        *x.shape[:2], self.num_heads, -1
      )

    v = project("value")
    q = rotate_by_position(rms_norm("query_norm")(project("query")))
    k = rotate_by_position(rms_norm("key_norm")(project("key")))
    q, k = q.astype(v.dtype), k.astype(v.dtype)
    sow_probabilities(self, q, k)
    out = attend(q, k, v, implementation=self.attention)
    return _linear(dim, self.dtype, "proj")(out.reshape(x.shape))


class GatedMlp(nn.Module):
  """SwiGLU: silu(x A) (x B), then a linear layer, no biases (Shazeer, 2020).

  Attributes:
    hidden_size: Width between the layers.
    dtype: Dtype of the matrix products; None is float32.
  """

  hidden_size: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    """Applies the MLP."""
    gate = _linear(self.hidden_size, self.dtype, "gate")(x)
    hidden = nn.silu(gate) * _linear(self.hidden_size, self.dtype, "fc1")(x)
    return _linear(x.shape[-1], self.dtype, "fc2")(hidden)


class GatedBlock(nn.Module):
  """Pre-norm block whose branches are multiplied by a gate for each channel.

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
  def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
    """Applies the block, which is the identity at initialisation."""
    dim = x.shape[-1]
    attn = RotaryAttention(
      self.num_heads, self.attention, self.dtype, name="attn"
    )
    mlp = GatedMlp(int(dim * self.mlp_ratio), self.dtype, name="mlp")

    def residual(x, norm, branch, gate):
      scale = self.param(gate, ZEROS, (dim,), jnp.float32)
      out = branch(rms_norm(norm)(x))
      return add_branch(x, scale * out.astype(scale.dtype))

    x = residual(x, "norm1", attn, "attn_gate")
    return residual(x, "norm2", mlp, "mlp_gate")


class VelocityLayer(nn.Module):
  """Maps tokens to patches: norm and linear layer, zero at initialisation.

  Attributes:
    features: Values per patch.
  """

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N P"]:
    """Applies the layer in float32."""
    x = rms_norm("norm")(x)
    return Linear(self.features, kernel_init=ZEROS, name="linear")(x)


class IMF(PatchTransformer, Denoiser):
  """Denoiser that predicts average velocities; for other fields see the bases.

  Attributes:
    depth: Number of blocks from the input to the output of a head.
    head_depth: How many of them belong to the head.
    v_head: Whether the network has the blocks of the head of v, which only
      training needs.
    class_tokens: Number of tokens of the class.
    guidance_tokens: Number of tokens of the guidance scale.
    interval_tokens: Number of tokens of each end of the guidance interval.
    time_tokens: Number of tokens of the length h of the time interval.
  """

  in_channels: int = 4
  hidden_size: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_ratio: float = 8 / 3
  num_classes: int = 1000
  null_class: bool = True
  scalars: tuple[str, ...] = ("h", "w", "t_min", "t_max")
  head_depth: int = 8
  v_head: bool = True
  class_tokens: int = 8
  guidance_tokens: int = 4
  interval_tokens: int = 2
  time_tokens: int = 4

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    t: Real[Array, " B"],
    y: Int[Array, " B"] | None = None,
    train: bool = False,
    **scalars: Real[Array, " B"],
  ) -> Float[Array, "B H W C2"]:
    """Predicts the average velocity, and in training also the velocity.

    Args:
      x: State at the time t.
      t: Unused; the network takes only the length of the interval.
      y: Labels, `num_classes` for the null class; None if unconditional.
      train: Whether to also compute v; needs `v_head`.
      **scalars: "h", the length t - r of the interval of times; "w", the
        guidance scale, where less than 1 counts as 1; "t_min" and "t_max", the
        times between which it applies.

    Returns:
      u in float32, followed by C channels with v if `train` and `v_head`.

    Raises:
      UsageError: A field has an invalid value, fields do not fit together, or
        labels or scalars are missing.
    """
    del t
    self._check()
    scalars = self.check_scalars(scalars)
    patches = Linear(self.hidden_size, dtype=self.dtype, name="patch_embed")(
      patchify(x, self.patch_size)
    )
    tokens = jnp.concatenate(
      [*self._prefix(scalars, y), patches.astype(jnp.float32)], axis=1
    )
    count = self.depth - self.head_depth
    tokens = self._blocks("blocks", count, tokens)
    velocities = [self._velocity("u", self.head_depth, tokens)]
    if self.v_head and (train or self.is_initializing()):
      velocities.append(self._velocity("v", self.head_depth, tokens))
    elif self.is_initializing():
      # The official networks for inference keep the last layer of v.
      self._velocity("v", 0, tokens)
    return jnp.concatenate(velocities, axis=-1)

  def _velocity(
    self, name: str, depth: int, tokens: jax.Array
  ) -> Float[Array, "B H W C"]:
    """Applies the blocks and the last layer of a head."""
    grid = patch_grid(self.input_size, self.patch_size)
    tokens = self._blocks(f"{name}_blocks", depth, tokens)
    features = self.patch_size**2 * self.in_channels
    out = VelocityLayer(features, name=f"{name}_final")(
      tokens[:, -grid[0] * grid[1] :]
    )
    return unpatchify(out, grid, self.patch_size)

  def _check(self) -> None:
    if not 0 < self.head_depth <= self.depth:
      raise UsageError(
        f"head_depth is {self.head_depth}; expected 1 to depth={self.depth}"
      )
    names = ("h", "w", "t_min", "t_max")
    if set(self.scalars) != set(names):
      raise UsageError(
        f"scalars is {tuple(self.scalars)}; expected {names}, which the "
        "network embeds"
      )
    if self.hidden_size % (2 * self.num_heads):
      raise UsageError(
        f"hidden_size is {self.hidden_size}; expected a multiple of "
        f"2 * num_heads={2 * self.num_heads}"
      )

  def _prefix(
    self, scalars: dict[str, jax.Array], y: jax.Array | None
  ) -> list[jax.Array]:
    """Returns the tokens before those of the patches."""
    features = self.hidden_size
    parts = []
    if self.num_classes:
      embedding = LabelEmbed(
        self.num_classes,
        features,
        self.null_class,
        nn.initializers.normal(EMBEDDING_SCALE / math.sqrt(features)),
        name="label_embed",
      )(y)
      parts.append(self._tokens("class", self.class_tokens, embedding))
    for name, value, count in (
      ("w", 1 - 1 / jnp.maximum(scalars["w"], 1), self.guidance_tokens),
      ("t_min", scalars["t_min"], self.interval_tokens),
      ("t_max", scalars["t_max"], self.interval_tokens),
      ("h", scalars["h"], self.time_tokens),
    ):
      embedding = TimestepEmbed(
        features,
        kernel_init=fan_in_normal(EMBEDDING_SCALE),
        name=f"{name}_embed",
      )(value)
      parts.append(self._tokens(name, count, embedding))
    return parts

  def _tokens(self, name: str, count: int, embedding: jax.Array) -> jax.Array:
    """Returns learned tokens with an embedding (B, D) added to each."""
    deviation = EMBEDDING_SCALE / math.sqrt(self.hidden_size)
    learned = self.param(
      f"{name}_tokens",
      nn.initializers.normal(deviation),
      (count, self.hidden_size),
      jnp.float32,
    )
    return learned[None] + embedding[:, None]

  def _blocks(self, name: str, count: int, tokens: jax.Array) -> jax.Array:
    blocks = [
      GatedBlock(
        self.num_heads,
        self.mlp_ratio,
        self.attention,
        self.dtype,
        name=f"{name}_{i}",
      )
      for i in range(count)
    ]
    return apply_blocks(blocks, tokens, scan=self.scan, remat=self.remat)


def _linear(features: int, dtype: Any, name: str) -> Linear:
  return Linear(
    features,
    use_bias=False,
    kernel_init=fan_in_normal(BLOCK_SCALE),
    dtype=dtype,
    name=name,
  )
