"""U-ViT: transformers with long skip connections (Bao et al., 2023).

Time, conditioning and patches are all tokens. The outputs of the first half of
the blocks are long skip connections to the second half. Layout and sizes follow
the official code, which produced the published numbers.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from get_jax.errors import UsageError
from get_jax.models.base import Denoiser, PatchTransformer
from get_jax.nn.block_stack import apply_blocks, apply_blocks_with_states
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import Linear
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.timestep_embedding import (
  TimestepEmbed,
  add_scalars,
  timestep_sinusoid,
)
from get_jax.nn.transformer_block import Block, BlockBase, layer_norm

# The papers' "layers" (13, 17, 17, 21, 29) include the middle block.
SIZES = {
  "S": dict(hidden_size=512, depth=12, num_heads=8),
  "S-deep": dict(hidden_size=512, depth=16, num_heads=8),
  "M": dict(hidden_size=768, depth=16, num_heads=12),
  "L": dict(hidden_size=1024, depth=20, num_heads=16),
  "H": dict(hidden_size=1152, depth=28, num_heads=16),
}
_PIXELS = dict(downsample=1, in_channels=3)
_LATENTS = dict(downsample=8, in_channels=4)
_CLASSES = dict(num_classes=1000)
_CLASSES_OR_NONE = dict(num_classes=1000, null_class=True)
_TEXT = dict(context_tokens=77, context_features=768)


def _variant(
  size: str,
  patch_size: int,
  image_size: int,
  *fields: dict[str, Any],
  conv: bool = True,
) -> dict[str, Any]:
  variant: dict[str, Any] = dict(
    patch_size=patch_size, image_size=image_size, conv=conv
  )
  for group in (SIZES[size], *fields):
    variant |= group
  return variant


# The ten published networks. Two of the paper's names denote two networks each,
# which differ in the data set.
VARIANTS = {
  "U-ViT-S/2": _variant("S", 2, 32, _PIXELS),  # CIFAR-10
  "U-ViT-S/4": _variant("S", 4, 64, _PIXELS),  # CelebA
  "U-ViT-M/4": _variant("M", 4, 64, _PIXELS, _CLASSES),  # ImageNet
  "U-ViT-L/4": _variant("L", 4, 64, _PIXELS, _CLASSES),
  "U-ViT-L/2": _variant("L", 2, 256, _LATENTS, _CLASSES_OR_NONE),
  "U-ViT-H/2": _variant("H", 2, 256, _LATENTS, _CLASSES_OR_NONE, conv=False),
  "U-ViT-L/4-512": _variant("L", 4, 512, _LATENTS, _CLASSES_OR_NONE),
  "U-ViT-H/4": _variant("H", 4, 512, _LATENTS, _CLASSES_OR_NONE, conv=False),
  "U-ViT-S/2-COCO": _variant("S", 2, 256, _LATENTS, _TEXT),
  "U-ViT-S/2-COCO-deep": _variant("S-deep", 2, 256, _LATENTS, _TEXT),
}
SKIPS = ("concat", "add", "none")
NORMAL = nn.initializers.normal(0.02)
EPSILON = 1e-5


def fan_in_uniform(fan_in: int) -> nn.initializers.Initializer:
  """Returns a uniform initialiser on [-1/sqrt(fan_in), 1/sqrt(fan_in)].

  This is PyTorch's default, which the official code uses for its convolutions.
  """
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class SkipBlock(BlockBase):
  """Transformer block with a long skip connection.

  For the other fields see `get_jax.nn.transformer_block.BlockBase`.

  Attributes:
    skip: How tokens and skip are joined: "concat" (concatenation, then a linear
      layer) or "add".
  """

  skip: str = "concat"

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N D"], skip: Float[Array, "B N D"]
  ) -> Float[Array, "B N D"]:
    """Applies the block to tokens `x` and the output of an earlier block."""
    if self.skip == "add":
      return self.transform(x + skip)
    join = Linear(
      x.shape[-1],
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="skip_linear",
    )
    joined = join(jnp.concatenate([x, skip], axis=-1))
    return self.transform(joined.astype(x.dtype))


class UViT(PatchTransformer, Denoiser):
  """Denoiser: transformer over tokens of time, conditioning and patches.

  For the other fields see `get_jax.models.base`.

  Attributes:
    depth: Number of blocks besides the middle one, even.
    qkv_bias: Whether the projection to queries, keys and values has a bias.
    context_tokens: Number of text tokens in the conditioning; 0 for none.
    context_features: Width of these tokens.
    mlp_time_embed: Whether there is an MLP between the sinusoid of the time and
      its token.
    skip: How the second half of the blocks uses the outputs of the first half:
      "concat", "add" or "none".
    conv: Whether a 3x3 convolution over the image is the last layer.
  """

  hidden_size: int = 512
  depth: int = 12
  num_heads: int = 8
  qkv_bias: bool = False
  context_tokens: int = 0
  context_features: int = 768
  mlp_time_embed: bool = False
  skip: str = "concat"
  conv: bool = True

  def __call__(
    self,
    x: Float[Array, "B H W C"],
    t: Real[Array, " B"],
    y: Int[Array, " B"] | Float[Array, "B L E"] | None = None,
    train: bool = False,
    **scalars: Real[Array, " B"],
  ) -> Float[Array, "B H W C"]:
    """Predicts noise.

    Args:
      x: Noisy input.
      t: Times in the scale of the diffusion process: 999 t for the continuous
        process, 1 to 1000 for the discrete one.
      y: Conditioning: labels, `num_classes` for the null class; or text with
        L = `context_tokens` and E = `context_features`; None if unconditional.
      train: Unused; every denoiser accepts it.
      **scalars: Further inputs, those of the field `scalars`; their embeddings
        are added to the token of the time.

    Returns:
      The predicted noise in float32.

    Raises:
      UsageError: A field has an invalid value, fields do not fit together, or
        conditioning or scalars are missing.
    """
    del train
    return self._run(x, t, y, scalars)[0]

  def hidden_states(
    self,
    x: Float[Array, "B H W C"],
    t: Real[Array, " B"],
    y: Int[Array, " B"] | Float[Array, "B L E"] | None = None,
    **scalars: Real[Array, " B"],
  ) -> Float[Array, "blocks B N D"]:
    """Returns the tokens after each of the depth + 1 blocks.

    N includes the tokens of time and conditioning. For the arguments see
    `__call__`.
    """
    return jnp.stack(self._run(x, t, y, scalars)[1])

  @nn.compact
  def _run(self, x, t, y, scalars):
    self._check()
    grid = patch_grid(self.input_size, self.patch_size)
    fan_in = self.patch_size**2 * self.in_channels
    patches = Linear(
      self.hidden_size,
      kernel_init=fan_in_uniform(fan_in),
      bias_init=fan_in_uniform(fan_in),
      dtype=self.dtype,
      name="patch_embed",
    )(patchify(x, self.patch_size))
    extras = self._time_and_conditioning(t, y, scalars)
    tokens = jnp.concatenate(
      [part.astype(jnp.float32) for part in (*extras, patches)], axis=1
    )
    positions = self.param("pos_embed", NORMAL, tokens.shape[1:], jnp.float32)
    tokens = tokens + positions[None]

    options: dict[str, Any] = dict(scan=self.scan, remat=self.remat)
    half = range(self.depth // 2)
    in_blocks = [self._block(f"in_blocks_{i}") for i in half]
    tokens, in_states = apply_blocks_with_states(in_blocks, tokens, **options)
    tokens = apply_blocks([self._block("mid_block")], tokens, **options)
    middle = tokens
    has_skips = self.skip != "none"
    out_blocks = [self._block(f"out_blocks_{i}", has_skips) for i in half]
    tokens, out_states = apply_blocks_with_states(
      out_blocks,
      tokens,
      per_block=in_states[::-1] if has_skips else None,
      **options,
    )
    count = grid[0] * grid[1]
    tokens = layer_norm("norm", epsilon=EPSILON)(tokens[:, -count:])
    # The last two layers are float32: they produce the network's output.
    patches = Linear(fan_in, kernel_init=NORMAL, name="decoder")(tokens)
    out = unpatchify(patches, grid, self.patch_size)
    if self.conv:
      fan_in = 9 * self.in_channels
      out = nn.Conv(
        self.in_channels,
        (3, 3),
        kernel_init=fan_in_uniform(fan_in),
        bias_init=fan_in_uniform(fan_in),
        name="conv",
      )(out)
    return out, [*in_states, middle, *out_states]

  @property
  def extra_tokens(self) -> tuple[str, ...]:
    """Returns the names of the tokens before the patches, in their order."""
    if self.num_classes:
      return "label", "time"
    return "time", *(f"text {i}" for i in range(self.context_tokens))

  def abstract_conditioning(
    self, batch_size: int
  ) -> jax.ShapeDtypeStruct | None:
    """Returns shape and dtype of labels or text; None if unconditional.

    Text has the dtype of the matrix products, which is what they round it to.
    """
    if self.context_tokens and not self.num_classes:
      shape = (batch_size, self.context_tokens, self.context_features)
      return jax.ShapeDtypeStruct(shape, self.dtype or jnp.float32)
    return super().abstract_conditioning(batch_size)

  def _check(self) -> None:
    if self.depth % 2 or self.depth < 2:
      raise UsageError(
        f"depth is {self.depth}; expected an even number, half of the blocks "
        "before the middle block and half after it"
      )
    if self.skip not in SKIPS:
      raise UsageError(
        f"skip is {self.skip!r}; expected one of: {', '.join(SKIPS)}"
      )
    if self.num_classes and self.context_tokens:
      raise UsageError(
        f"num_classes is {self.num_classes} and context_tokens is "
        f"{self.context_tokens}; expected one of them to be 0"
      )

  def _time_and_conditioning(
    self, t: jax.Array, y: jax.Array | None, scalars: dict[str, jax.Array]
  ) -> list[jax.Array]:
    """Returns the first tokens: label and time, or time and text, or time."""
    if self.mlp_time_embed:
      embed = TimestepEmbed(
        self.hidden_size,
        frequencies=self.hidden_size,
        hidden_size=4 * self.hidden_size,
        name="time_embed",
      )
      time = embed(t)
    else:
      time = timestep_sinusoid(t, self.hidden_size)
    time = add_scalars(time, self.check_scalars(scalars))[:, None]
    if self.num_classes:
      label_embed = LabelEmbed(
        self.num_classes,
        self.hidden_size,
        self.null_class,
        # Fifty times the scale of the other layers, as in the official code.
        embedding_init=nn.initializers.normal(1.0),
        name="label_embed",
      )
      return [label_embed(y)[:, None], time]
    if self.context_tokens:
      shape = (self.context_tokens, self.context_features)
      if y is None or y.shape[1:] != shape:
        given = "nothing" if y is None else f"an array of shape {y.shape}"
        raise UsageError(
          f"the network is conditioned on text but got {given}; expected "
          f"shape (batch, {shape[0]}, {shape[1]})"
        )
      context_embed = Linear(
        self.hidden_size,
        kernel_init=NORMAL,
        dtype=self.dtype,
        name="context_embed",
      )
      return [time, context_embed(y)]
    return [time]

  def _block(self, name: str, has_skip: bool = False) -> BlockBase:
    fields: dict[str, Any] = dict(
      num_heads=self.num_heads,
      mlp_ratio=self.mlp_ratio,
      epsilon=EPSILON,
      qkv_bias=self.qkv_bias,
      kernel_init=NORMAL,
      attention=self.attention,
      dtype=self.dtype,
      name=name,
    )
    return SkipBlock(skip=self.skip, **fields) if has_skip else Block(**fields)
