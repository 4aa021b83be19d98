"""U-ViT: transformers with long skip connections (Bao et al., 2023).

Time, condition and patches are all tokens; the first half of the blocks hands
its outputs to the second. Layout and sizes follow the official code, which
made the published numbers.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import Linear
from get_jax.nn.patches import as_pair, patch_grid, patchify, unpatchify
from get_jax.nn.timestep_embedding import TimestepEmbed, timestep_sinusoid
from get_jax.nn.transformer_block import Block, layer_norm

# The papers' "layers" (13, 17, 17, 21, 29) count the middle block too.
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


def _variant(size: str, patch_size: int, image_size: int, *fields, conv=True):
  variant = dict(patch_size=patch_size, image_size=image_size, conv=conv)
  for more in (SIZES[size], *fields):
    variant |= more
  return variant


# The ten published networks. Two of the paper's names stand for two networks
# each; the data set tells them apart.
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
  """Uniform up to 1/sqrt(fan_in) on either side of zero.

  PyTorch's default, which the official code leaves its convolutions.
  """
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class SkipBlock(Block):
  """A transformer block whose input is joined with a long skip.

  Attributes:
    skip: "concat" (of tokens and skip, then a linear layer) or "add".
  """

  skip: str = "concat"

  @nn.compact
  def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
    """(B, N, D) tokens and (B, N, D) tokens of an earlier block to the same."""
    if self.skip == "add":
      return super().__call__(x + skip)
    join = Linear(
      x.shape[-1],
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="skip_linear",
    )
    joined = join(jnp.concatenate([x, skip], axis=-1))
    return super().__call__(joined.astype(x.dtype))


class UViT(nn.Module):
  """A denoiser: transformer over tokens of time, condition and patches.

  Attributes:
    input_size: height and width of what the network sees; one number if equal.
    patch_size: side of a patch.
    in_channels: channels of the input.
    hidden_size: width D of the tokens.
    depth: number of blocks besides the middle one, even.
    num_heads: attention heads.
    mlp_ratio: hidden width of the perceptrons over D.
    qkv_bias: whether the projection to queries, keys and values has a bias.
    num_classes: classes of the condition; 0 for none.
    null_class: whether label `num_classes` stands for "no class".
    context_tokens: tokens of text in the condition; 0 for none.
    context_features: width of these tokens.
    mlp_time_embed: a perceptron between the time's sinusoid and its token.
    skip: how the second half of the blocks takes the outputs of the first:
      "concat", "add" or "none".
    conv: a final 3x3 convolution over the image.
    dtype: type of the matrix products; None is float32.
    attention: implementation, see `get_jax.nn.attention.attend`.
    scan: trace one block of each half and loop over it.
    remat: see `get_jax.nn.block_stack.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  patch_size: int = 2
  in_channels: int = 3
  hidden_size: int = 512
  depth: int = 12
  num_heads: int = 8
  mlp_ratio: float = 4.0
  qkv_bias: bool = False
  num_classes: int = 0
  null_class: bool = False
  context_tokens: int = 0
  context_features: int = 768
  mlp_time_embed: bool = False
  skip: str = "concat"
  conv: bool = True
  dtype: Any = None
  attention: str = "auto"
  scan: bool = False
  remat: str = "none"

  def __call__(
    self,
    x: jax.Array,
    t: jax.Array,
    y: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Predicts noise.

    Args:
      x: (B, H, W, C) noisy input.
      t: (B,) times as the diffusion process tells the network: 999 t of the
        continuous process, 1 to 1000 of the discrete one.
      y: the condition: (B,) labels, `num_classes` for the null class; or
        (B, context_tokens, context_features) text; None if unconditional.
      train: without effect; every denoiser takes it.

    Returns:
      (B, H, W, C) float32.

    Raises:
      UsageError: fields that do not fit each other, or a condition missing.
    """
    del train
    return self._run(x, t, y)[0]

  def hidden_states(
    self, x: jax.Array, t: jax.Array, y: jax.Array | None = None
  ) -> jax.Array:
    """Tokens after each block, (depth + 1, B, N, D) with all N tokens.

    Args:
      x: as all arguments, see `__call__`.
      t: see there.
      y: see there.
    """
    return jnp.stack(self._run(x, t, y)[1])

  @nn.compact
  def _run(self, x, t, y):
    self._check()
    grid = patch_grid(self.input_size, self.patch_size)
    dense = dict(kernel_init=NORMAL, dtype=self.dtype)
    fan_in = self.patch_size**2 * self.in_channels
    patches = Linear(
      self.hidden_size,
      kernel_init=fan_in_uniform(fan_in),
      bias_init=fan_in_uniform(fan_in),
      dtype=self.dtype,
      name="patch_embed",
    )(patchify(x, self.patch_size))
    extras = self._time_and_condition(t, y, dense)
    tokens = jnp.concatenate([*extras, patches], axis=1)
    positions = self.param("pos_embed", NORMAL, tokens.shape[1:])
    tokens = tokens + positions

    run = dict(scan=self.scan, remat=self.remat)
    half = range(self.depth // 2)
    in_blocks = [self._block(f"in_blocks_{i}") for i in half]
    tokens, before = apply_blocks(in_blocks, tokens, collect=True, **run)
    middle = tokens = apply_blocks([self._block("mid_block")], tokens, **run)
    skipping = self.skip != "none"
    out_blocks = [self._block(f"out_blocks_{i}", skipping) for i in half]
    tokens, after = apply_blocks(
      out_blocks,
      tokens,
      each=before[::-1] if skipping else None,
      collect=True,
      **run,
    )
    count = grid[0] * grid[1]
    tokens = layer_norm("norm", epsilon=EPSILON)(tokens[:, -count:])
    # The two last layers stay in float32: they make the network's output.
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
    return out, [*before, middle, *after]

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes and types of the call's arguments."""
    size = (batch_size, *as_pair(self.input_size), self.in_channels)
    x = jax.ShapeDtypeStruct(size, jnp.float32)
    t = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    y = None
    if self.num_classes:
      y = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    elif self.context_tokens:
      size = (batch_size, self.context_tokens, self.context_features)
      y = jax.ShapeDtypeStruct(size, jnp.float32)
    return x, t, y

  def _check(self) -> None:
    if self.depth % 2 or self.depth < 2:
      raise UsageError(
        f"depth is {self.depth}; expected an even number, half of the blocks "
        "before the middle one and half behind it"
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

  def _time_and_condition(self, t, y, dense) -> list[jax.Array]:
    """The tokens before the patches: label and time, or time and text."""
    if self.mlp_time_embed:
      embed = TimestepEmbed(
        self.hidden_size,
        frequencies=self.hidden_size,
        hidden_size=4 * self.hidden_size,
        name="time_embed",
      )
      time = embed(t)[:, None]
    else:
      time = timestep_sinusoid(t, self.hidden_size)[:, None]
    if self.num_classes:
      label_embed = LabelEmbed(
        self.num_classes,
        self.hidden_size,
        self.null_class,
        # Fifty times larger than all else, as in the official code.
        embedding_init=nn.initializers.normal(1.0),
        name="label_embed",
      )
      return [label_embed(y)[:, None], time]
    if self.context_tokens:
      shape = (self.context_tokens, self.context_features)
      if y is None or y.shape[1:] != shape:
        found = "nothing" if y is None else f"an array of shape {y.shape}"
        raise UsageError(
          f"the network's condition is text but it got {found}; expected "
          f"shape (batch, {shape[0]}, {shape[1]})"
        )
      text = Linear(self.hidden_size, name="context_embed", **dense)(y)
      return [time, text]
    return [time]

  def _block(self, name: str, skipping: bool = False) -> Block:
    fields = dict(
      num_heads=self.num_heads,
      mlp_ratio=self.mlp_ratio,
      epsilon=EPSILON,
      qkv_bias=self.qkv_bias,
      kernel_init=NORMAL,
      attention=self.attention,
      dtype=self.dtype,
      name=name,
    )
    return SkipBlock(skip=self.skip, **fields) if skipping else Block(**fields)
