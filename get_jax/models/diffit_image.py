"""Image-space DiffiT: a U-Net of convolutions and window transformer blocks.

Hatamizadeh et al., "DiffiT: Diffusion Vision Transformers for Image
Generation", section 3.2.2. No code has been published, so the network follows
the text. The rest of the set-up is EDM's, whose training the paper "strictly
followed"; the paper's tables have the widths and numbers of blocks of EDM's
DDPM++. Where the paper leaves a choice:

 1. Blocks per stage: appendix H.1 states 4 in every stage, I.1 states 1, 2, 2,
    2 (FFHQ) and 2, 2, 2 (CIFAR-10), which are exactly EDM's channel
    multipliers. H.1 is the default; the variants of I.1 have their own names.
 2. Widths at 32 pixels: 128, 256, 256. The tables show only 64 pixels, but only
    the first transition changes the width, "for all networks".
 3. "16x16x128" after the second downsampler of Table S.2 is a misprint for
    256: resampling keeps the channels.
 4. A 1x1 convolution matches the channels at the start of a stage, since
    equation 10 needs equal shapes.
 5. Skips join the last output of each encoder stage to the upsampled map, by
    concatenation, or by addition after the matching convolution.
 6. The lowest stage is applied once; the decoder has none at its resolution.
 7. Downsampling: 3x3 convolution with stride 2. Upsampling: nearest neighbour,
    then 3x3 convolution. Alternatively, with "similar" results, bilinear
    interpolation without parameters.
 8. Heads are 32 wide, as in Swin.
 9. Group norms have up to 32 groups and epsilon 1e-6 (EDM); the transformer
    block is that of the released latent model.
10. The head is group norm and 3x3 convolution without an activation between
    (Figure 4), initialised with zeros.
11. The time token is 512 wide, computed from 128 sinusoids of c_noise (256 of
    the Fourier kind) by two linear layers with SiLU between; it enters through
    attention alone.
12. No position embedding, no shifted windows, no factor on the sums.
13. A map smaller than the window is one window; a map that is not a multiple of
    the window raises an error.
14. Dropout (EDM's .13 and .05) comes before the convolution of the block.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError
from get_jax.models.base import Denoiser
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import XAVIER, ZEROS, Linear
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.timestep_embedding import add_scalars
from get_jax.nn.tmsa import TIMES, DiffiTBlock
from get_jax.nn.unet_block import group_norm
from get_jax.nn.windows import (
  window_and_grid,
  window_merge,
  window_partition,
)

_CIFAR10 = dict(image_size=32, widths=(128, 256, 256), window=4, dropout=0.13)
_FFHQ = dict(image_size=64, widths=(128, 256, 256, 256), window=8, dropout=0.05)
VARIANTS = {
  "DiffiT-CIFAR-10": dict(depths=(4, 4, 4), **_CIFAR10),
  "DiffiT-CIFAR-10-I.1": dict(depths=(2, 2, 2), **_CIFAR10),
  "DiffiT-FFHQ-64": dict(depths=(4, 4, 4, 4), **_FFHQ),
  "DiffiT-FFHQ-64-I.1": dict(depths=(1, 2, 2, 2), **_FFHQ),
}
# "stage": the time is scaled and added at the start of a stage, and does not
# enter the blocks.
STAGE_TIMES = (*TIMES[:-1], "stage")
EPSILON = 1e-6


class ResBlock(nn.Module):
  """x + DiffiTBlock(conv(swish(norm(x))), time), in windows.

  Attributes:
    window: Side of a window.
    head_dim: Width of an attention head.
    mlp_ratio: Hidden width of the MLP divided by C.
    time: How the time enters, see `get_jax.nn.tmsa.TIMES`.
    dropout: Dropout probability before the convolution.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the products; None is float32.
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
    self,
    x: Float[Array, "B H W C"],
    time: Float[Array, "B E"],
    key: jax.Array | None = None,
  ) -> Float[Array, "B H W C"]:
    """Applies the block.

    Args:
      x: Feature map.
      time: Time token.
      key: PRNG key of the dropout; None for no dropout.

    Returns:
      Feature map of the same shape.
    """
    _, height, width, channels = x.shape
    window, grid = window_and_grid(height, width, self.window)
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
    tokens = block(window_partition(h.astype(x.dtype), window), time)
    return x + window_merge(tokens, window, grid)


class Stage(nn.Module):
  """Blocks of one resolution, in the encoder or the decoder.

  Attributes:
    features: Channels C of the stage.
    depth: Number of blocks.
    time: How the time enters, see `STAGE_TIMES`.
    skip: How a skip is joined: "concat" or "add".
    block: Fields of `ResBlock` without `time`.
    scan: Whether to trace one block and loop over it.
    remat: Rematerialisation of blocks, see
      `get_jax.nn.block_stack.rematerialize`.
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
    x: Float[Array, "B H W C_in"],
    time: Float[Array, "B E"],
    skip: Float[Array, "B H W C"] | None = None,
    train: bool = False,
  ) -> Float[Array, "B H W C"]:
    """Applies the stage.

    Args:
      x: Feature map with any number of channels.
      time: Time token.
      skip: Output of the encoder stage of the same resolution; None in the
        encoder.
      train: Whether to apply dropout.

    Returns:
      Feature map with C channels.
    """
    dtype = self.block["dtype"]
    if skip is not None and self.skip == "concat":
      x = jnp.concatenate([x, skip], axis=-1)
    if x.shape[-1] != self.features:
      match = Linear(self.features, dtype=dtype, name="match")
      x = match(x).astype(x.dtype)
    if skip is not None and self.skip == "add":
      x = x + skip
    if self.time == "stage":
      projection = Linear(self.features, dtype=dtype, name="time")(time)
      ones = nn.initializers.ones_init()
      scale = self.param("time_scale", ones, (), jnp.float32)
      x = x + scale * projection[:, None, None]
    time_in_block = "none" if self.time == "stage" else self.time
    blocks = [
      ResBlock(time=time_in_block, name=f"blocks_{i}", **self.block)
      for i in range(self.depth)
    ]
    keys = None
    if train and self.block["dropout"]:
      keys = jax.random.split(self.make_rng("dropout"), self.depth)
    return apply_blocks(
      blocks, x, time, per_block=keys, scan=self.scan, remat=self.remat
    )


class ImageDiffiT(Denoiser):
  """Denoiser for pixels: the F of EDM's preconditioning.

  The embedding of the class is added to the time token; the paper's networks
  are unconditional. For the other fields see `get_jax.models.base`.

  Attributes:
    widths: Channels of each stage, highest resolution first.
    depths: Number of blocks of each stage. The lowest stage is applied once,
      the others in the encoder and in the decoder.
    window: Side of the windows within which tokens attend to each other.
    head_dim: Width of an attention head.
    mlp_ratio: Hidden width of the MLPs divided by the channels.
    time: How the time enters, see `STAGE_TIMES`: "mixed" (TMSA), "separate"
      (Table 7), "position-bias" or "mlp" (Table 6), "stage" (Table 4 C).
    decoder_time: The same for the decoder; None is the value of `time`. "stage"
      here with "mixed" for `time` is Table 4 D.
    time_features: Width of the time token (Table 3).
    time_embedding: "positional" or "fourier" (Table 8).
    time_frequencies: Number of sinusoids of "positional"; "fourier" has twice
      as many.
    skip: How skips are joined: "concat" or "add".
    resample: "conv" or "bilinear".
    augment_dim: Length of EDM's augmentation labels; 0 for none.
    dropout: Dropout probability in the blocks.
    scan: Whether to trace one block of each stage and loop over it.
  """

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
  augment_dim: int = 9
  dropout: float = 0.0
  scan: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    t: Float[Array, " B"],
    y: Int[Array, " B"] | None = None,
    train: bool = False,
    augment_labels: Float[Array, "B A"] | None = None,
    **scalars: Float[Array, " B"],
  ) -> Float[Array, "B H W C"]:
    """Computes the raw output F.

    Args:
      x: Scaled input.
      t: Noise labels c_noise, ln(sigma) / 4.
      y: Labels, `num_classes` for the null class; None if unconditional.
      train: Whether to apply dropout, which needs the "dropout" key.
      augment_labels: Augmentation labels, A = `augment_dim`; None for images
        that are not augmented.
      **scalars: Further inputs, those of the field `scalars`; their embeddings
        are added to the time token.

    Returns:
      F in float32.

    Raises:
      UsageError: A field has an invalid value, or fields do not fit together or
        the input.
    """
    self._check(x)
    time = self._time_token(t, y, augment_labels)
    time = add_scalars(time, self.check_scalars(scalars))
    stages = len(self.widths)

    def stage(name, i, x, stage_time, skip=None):
      return Stage(
        self.widths[i],
        self.depths[i],
        stage_time,
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

  def _time_token(self, t, y, augment_labels):
    """Returns the embedding of noise level, augmentation and class (B, E)."""
    width = self.time_frequencies
    if self.time_embedding == "fourier":
      width *= 2
      h = FourierEmbed(width, name="time_frequencies")(t)
    else:
      h = noise_sinusoid(t, width, endpoint=True)

    if self.augment_dim:
      if augment_labels is None:
        augment_labels = jnp.zeros((len(t), self.augment_dim), jnp.float32)
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

  def _block_fields(self) -> dict[str, Any]:
    return dict(
      window=self.window,
      head_dim=self.head_dim,
      mlp_ratio=self.mlp_ratio,
      dropout=self.dropout,
      attention=self.attention,
      dtype=self.dtype,
    )

  def _check(self, x: jax.Array) -> None:
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
        f"widths are {self.widths} and depths are {self.depths}; expected the "
        "same number of both"
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
  """Returns a 3x3 convolution with zero padding."""
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
