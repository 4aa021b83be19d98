"""Image-space DiffiT: a U of convolutions and transformer blocks in windows.

Hatamizadeh et al., "DiffiT: Diffusion Vision Transformers for Image
Generation", section 3.2.2. Nobody has published code, so this is built from
the text; the set-up around it is EDM's (the paper "strictly followed" its
training), whose DDPM++ widths and numbers of blocks the tables repeat. Where
the paper leaves a choice:

 1. Blocks per stage: appendix H.1 says 4 in every stage, I.1 says 1, 2, 2, 2
    (FFHQ) and 2, 2, 2 (CIFAR-10), which are EDM's channel multipliers digit
    for digit. H.1 is the default; I.1's reading has names of its own.
 2. Widths at 32 pixels: 128, 256, 256. The tables show 64 pixels only, but
    only the first transition is to change the width, "for all networks".
 3. "16x16x128" behind the second downsampler of Table S.2 is a misprint for
    256: resampling keeps the channels.
 4. A 1x1 convolution matches the channels where a stage begins, since
    equation 10 needs equal shapes.
 5. Skips join the last output of each encoder stage to the upsampled map by
    concatenation, or by addition behind the match.
 6. The lowest stage is passed once; the decoder has none at its resolution.
 7. Down: 3x3 convolution of stride 2. Up: nearest neighbour, 3x3 convolution.
    Or, with "similar" results, bilinear interpolation without parameters.
 8. Heads are 32 wide, as in Swin.
 9. Group norms have up to 32 groups and epsilon 1e-6 (EDM); the transformer
    block is the one of the released latent model.
10. The head is group norm and 3x3 convolution, without an activation between
    (Figure 4), and starts at zero.
11. The time token is 512 wide, made of 128 sinusoids of c_noise (256 of the
    Fourier kind) by two linear layers with SiLU between; it enters through
    attention alone.
12. No position embedding, no shifted windows, no factor on the sums.
13. A map smaller than the window is one window; one that is no multiple of it
    is refused.
14. Dropout (EDM's .13 and .05) stands before the convolution of the block.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn import windows
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import XAVIER, ZEROS, Linear
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.patches import as_pair
from get_jax.nn.tmsa import TIMES, DiffiTBlock
from get_jax.nn.unet_block import group_norm

_CIFAR10 = dict(image_size=32, widths=(128, 256, 256), window=4, dropout=0.13)
_FFHQ = dict(image_size=64, widths=(128, 256, 256, 256), window=8, dropout=0.05)
VARIANTS = {
  "DiffiT-CIFAR-10": dict(depths=(4, 4, 4), **_CIFAR10),
  "DiffiT-CIFAR-10-I.1": dict(depths=(2, 2, 2), **_CIFAR10),
  "DiffiT-FFHQ-64": dict(depths=(4, 4, 4, 4), **_FFHQ),
  "DiffiT-FFHQ-64-I.1": dict(depths=(1, 2, 2, 2), **_FFHQ),
}
# Besides those of a block: the time scaled and added as a stage begins.
STAGE_TIMES = (*TIMES[:-1], "stage")
EPSILON = 1e-6


class ResBlock(nn.Module):
  """x + DiffiTBlock(conv(swish(norm(x))), time), in windows.

  Attributes:
    window: side of a window.
    head_dim: width of an attention head.
    mlp_ratio: hidden width of the perceptron over C.
    time: how the time enters, see `get_jax.nn.tmsa.TIMES`.
    dropout: probability before the convolution.
    attention: see `get_jax.nn.attention.attend`.
    dtype: type of the products.
  """

  window: int
  head_dim: int
  mlp_ratio: float = 4.0
  time: str = "mixed"
  dropout: float = 0.0
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, time: jax.Array, key: jax.Array | None = None
  ) -> jax.Array:
    """Runs the block.

    Args:
      x: (B, H, W, C).
      time: (B, E).
      key: PRNG key of the dropout; None drops nothing.

    Returns:
      (B, H, W, C).
    """
    _, height, width, channels = x.shape
    window, grid = windows.window_of(height, width, self.window)
    h = nn.silu(group_norm("norm", x, EPSILON))
    if key is not None:
      h = nn.Dropout(self.dropout, deterministic=False, name="drop")(h, rng=key)
    h = conv3x3("conv", channels, self.dtype)(h)
    block = DiffiTBlock(
      channels // self.head_dim,
      window,
      self.mlp_ratio,
      self.time,
      self.attention,
      self.dtype,
      name="block",
    )
    tokens = block(windows.split(h.astype(x.dtype), window), time)
    return x + windows.join(tokens, window, grid)


class Stage(nn.Module):
  """The blocks of one resolution, on the way down or up.

  Attributes:
    features: channels C of the stage.
    depth: blocks.
    time: see `STAGE_TIMES`.
    skip: "concat" or "add": how the skip, if there is one, is joined.
    block: fields of `ResBlock` without `time`.
    scan: trace one block and loop over it.
    remat: see `get_jax.nn.block_stack.rematerialize`.
  """

  features: int
  depth: int
  time: str
  skip: str
  block: dict[str, Any]
  scan: bool = False
  remat: str = "none"

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    time: jax.Array,
    skip: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """(B, H, W, any) to (B, H, W, C), with a skip (B, H, W, C) if decoding."""
    dtype = self.block["dtype"]
    if skip is not None and self.skip == "concat":
      x = jnp.concatenate([x, skip], axis=-1)
    if x.shape[-1] != self.features:
      match = Linear(self.features, dtype=dtype, name="match")
      x = match(x).astype(x.dtype)
    if skip is not None and self.skip == "add":
      x = x + skip
    if self.time == "stage":
      told = Linear(self.features, dtype=dtype, name="time")(time)
      scale = self.param("time_scale", nn.initializers.ones_init(), ())
      x = x + scale * told[:, None, None]
    time_in_block = "none" if self.time == "stage" else self.time
    blocks = [
      ResBlock(time=time_in_block, name=f"blocks_{i}", **self.block)
      for i in range(self.depth)
    ]
    keys = None
    if train and self.block["dropout"]:
      keys = jax.random.split(self.make_rng("dropout"), self.depth)
    run = dict(scan=self.scan, remat=self.remat)
    return apply_blocks(blocks, x, time, each=keys, **run)


class ImageDiffiT(nn.Module):
  """A denoiser for pixels, the F of EDM's preconditioning.

  Attributes:
    input_size: height and width of the image; one number if equal.
    in_channels: channels of the image.
    widths: channels of each stage, highest resolution first.
    depths: blocks of each stage; the lowest is passed once, the others on the
      way down and on the way up.
    window: side of the windows within which there is attention.
    head_dim: width of an attention head.
    mlp_ratio: hidden width of the perceptrons over the channels.
    time: how the time enters, see `STAGE_TIMES`: "mixed" (TMSA), "separate"
      (Table 7), "position-bias" or "mlp" (Table 6), "stage" (Table 4 C).
    decoder_time: the same for the decoder; None is as the encoder. With
      "stage" here and "mixed" there it is Table 4 D.
    time_features: width of the time token (Table 3).
    time_embedding: "positional" or "fourier" (Table 8).
    time_frequencies: sinusoids of "positional", half of those of "fourier".
    skip: "concat" or "add".
    resample: "conv" or "bilinear".
    num_classes: classes of the condition, which is added to the time token;
      0, as in the paper, makes the network unconditional.
    null_class: whether label `num_classes` stands for "no class".
    augment_dim: length of the labels of EDM's augmentation; 0 for none.
    dropout: probability inside the blocks.
    dtype: type of the products; None is float32.
    attention: implementation, see `get_jax.nn.attention.attend`.
    scan: trace one block of each stage and loop over it.
    remat: see `get_jax.nn.block_stack.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  in_channels: int = 3
  widths: tuple[int, ...] = (128, 256, 256)
  depths: tuple[int, ...] = (4, 4, 4)
  window: int = 4
  head_dim: int = 32
  mlp_ratio: float = 4.0
  time: str = "mixed"
  decoder_time: str | None = None
  time_features: int = 512
  time_embedding: str = "positional"
  time_frequencies: int = 128
  skip: str = "concat"
  resample: str = "conv"
  num_classes: int = 0
  null_class: bool = False
  augment_dim: int = 9
  dropout: float = 0.0
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
    augment_labels: jax.Array | None = None,
  ) -> jax.Array:
    """The raw output F.

    Args:
      x: (B, H, W, C) scaled input.
      t: (B,) noise labels c_noise, ln(sigma) / 4.
      y: (B,) labels, `num_classes` for the null class; None if unconditional.
      train: whether to drop out; needs the "dropout" key then.
      augment_labels: (B, augment_dim); None is not augmented.

    Returns:
      (B, H, W, C) float32.

    Raises:
      UsageError: fields that do not fit each other or the input.
    """
    self._check(x)
    time = self._time_token(t, y, augment_labels)
    stages = len(self.widths)

    def stage(name, i, x, how, skip=None):
      return Stage(
        self.widths[i],
        self.depths[i],
        how,
        self.skip,
        self._block_fields(),
        self.scan,
        self.remat,
        name=f"{name}_{i}",
      )(x, time, skip, train)

    x = conv3x3("tokenizer", self.widths[0], self.dtype)(x)
    x = x.astype(jnp.float32)
    skips = []
    for i in range(stages):
      x = stage("encoder", i, x, self.time)
      if i < stages - 1:
        skips.append(x)
        x = self._downsample(i, x)
    for i in reversed(range(stages - 1)):
      x = self._upsample(i, x)
      x = stage("decoder", i, x, self.decoder_time or self.time, skips[i])
    x = group_norm("head_norm", x, EPSILON)
    return conv3x3("head", self.in_channels, kernel_init=ZEROS)(x)

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes and types of the call's arguments."""
    size = (batch_size, *as_pair(self.input_size), self.in_channels)
    x = jax.ShapeDtypeStruct(size, jnp.float32)
    t = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    y = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return x, t, (y if self.num_classes else None)

  def _time_token(self, t, y, augment_labels):
    """Noise level, augmentation and class as one vector, (B, E) float32."""
    width = self.time_frequencies
    if self.time_embedding == "fourier":
      width *= 2
      h = FourierEmbed(width, name="time_frequencies")(t)
    else:
      h = noise_sinusoid(t, width, endpoint=True)

    if self.augment_dim:
      if augment_labels is None:
        augment_labels = jnp.zeros((len(t), self.augment_dim))
      augment = Linear(width, use_bias=False, name="augment_embed")
      h = h + augment(augment_labels)
    h = nn.silu(Linear(self.time_features, name="time_fc1")(h))
    h = Linear(self.time_features, name="time_fc2")(h)
    if self.num_classes:
      h = h + LabelEmbed(
        self.num_classes,
        self.time_features,
        self.null_class,
        name="label_embed",
      )(y)
    return h

  def _downsample(self, i, x):
    if self.resample == "bilinear":
      return _bilinear(x, x.shape[1] // 2, x.shape[2] // 2)
    conv = conv3x3(f"downsample_{i}", x.shape[-1], self.dtype, strides=2)
    return conv(x).astype(x.dtype)

  def _upsample(self, i, x):
    if self.resample == "bilinear":
      return _bilinear(x, 2 * x.shape[1], 2 * x.shape[2])
    x = x.repeat(2, axis=1).repeat(2, axis=2)
    conv = conv3x3(f"upsample_{i}", x.shape[-1], self.dtype)
    return conv(x).astype(x.dtype)

  def _block_fields(self):
    return dict(
      window=self.window,
      head_dim=self.head_dim,
      mlp_ratio=self.mlp_ratio,
      dropout=self.dropout,
      attention=self.attention,
      dtype=self.dtype,
    )

  def _check(self, x):
    decoder_time = self.decoder_time or self.time
    for field, value, choices in (
      ("time", self.time, STAGE_TIMES),
      ("decoder_time", decoder_time, STAGE_TIMES),
      ("time_embedding", self.time_embedding, ("positional", "fourier")),
      ("skip", self.skip, ("concat", "add")),
      ("resample", self.resample, ("conv", "bilinear")),
    ):
      if value not in choices:
        raise UsageError(
          f"{field} is {value!r}; expected one of: {', '.join(choices)}"
        )
    if len(self.depths) != len(self.widths):
      raise UsageError(
        f"widths are {self.widths} and depths are {self.depths}; expected as "
        "many of both"
      )
    if any(width % self.head_dim for width in self.widths):
      raise UsageError(
        f"widths are {self.widths}; expected multiples of "
        f"head_dim={self.head_dim}"
      )
    height, width = x.shape[1:3]
    deepest = 2 ** (len(self.widths) - 1)
    if height % deepest or width % deepest:
      raise UsageError(
        f"the network's input is {height}x{width}; expected multiples of "
        f"{deepest}, which {len(self.widths)} stages need"
      )


def conv3x3(
  name: str,
  features: int,
  dtype: Any = None,
  strides: int = 1,
  kernel_init: nn.initializers.Initializer = XAVIER,
) -> nn.Conv:
  """A 3x3 convolution over a map with a border of zeros."""
  return nn.Conv(
    features,
    (3, 3),
    strides,
    padding=1,
    kernel_init=kernel_init,
    dtype=dtype,
    name=name,
  )


def _bilinear(x, height, width):
  shape = (len(x), height, width, x.shape[-1])
  return jax.image.resize(x, shape, "bilinear", antialias=False)
