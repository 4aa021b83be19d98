"""EDM's networks: SongUNet (DDPM++, NCSN++) and ADM's U-Net.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
Models"; architectures of Song et al. and of Dhariwal and Nichol. The networks
are F in EDM's preconditioning: their time is c_noise, which is ln(sigma) / 4
for EDM's own. Submodules have the official names, which contain resolutions;
`enc.16x16_block0` is written `enc_16x16_block0`.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError
from get_jax.models.base import Denoiser
from get_jax.nn.block_stack import checkpoint_policy
from get_jax.nn.edm_layers import Conv, Init, Linear
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.unet_block import UNetBlock, group_norm

SONG_VARIANTS = {
  f"{name}-{size}": dict(fields, image_size=size, **of_size)
  for name, fields in {
    "DDPM++": {},
    "NCSN++": dict(
      embedding_type="fourier",
      encoder_type="residual",
      channel_mult_noise=2,
      resample_filter=(1, 3, 3, 1),
    ),
  }.items()
  for size, of_size in {
    32: dict(channel_mult=(2, 2, 2), dropout=0.13),
    64: dict(channel_mult=(1, 2, 2, 2), dropout=0.05),
  }.items()
}
ADM_VARIANTS: dict[str, dict[str, Any]] = {"ADM-64": {}}

# Weights and biases of almost all of ADM's layers.
_ADM_INIT = Init(
  "kaiming_uniform", weight=math.sqrt(1 / 3), bias=math.sqrt(1 / 3)
)


class _UNet(Denoiser):
  """Base class of the two networks.

  `remat` applies to each block. The null class is a conditioning vector of
  zeros and has no parameters. A scalar enters as a linear map of its sinusoid,
  added to the embedding of the noise level. For the other fields see
  `get_jax.models.base`.

  Attributes:
    model_channels: Channels of the first level divided by its `channel_mult`.
    channel_mult: Channels of each level divided by `model_channels`.
    channel_mult_emb: Width of the embedding divided by `model_channels`.
    num_blocks: Number of blocks of each level of the encoder; the decoder has
      one more.
    attn_resolutions: Heights of the feature maps that have attention.
    dropout: Dropout probability in the blocks.
    augment_dim: Length of the augmentation labels; 0 for none.
    learn_sigma: Whether the output has twice the channels.
  """

  model_channels: int = 128
  channel_mult: tuple[int, ...] = (2, 2, 2)
  channel_mult_emb: int = 4
  num_blocks: int = 4
  attn_resolutions: tuple[int, ...] = (16,)
  dropout: float = 0.13
  augment_dim: int = 9
  learn_sigma: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    t: Float[Array, " B"],
    y: Int[Array, " B"] | Float[Array, "B classes"] | None = None,
    train: bool = False,
    augment_labels: Float[Array, "B A"] | None = None,
    **scalars: Float[Array, " B"],
  ) -> Float[Array, "B H W C2"]:
    """Computes the raw output F.

    Args:
      x: Scaled input.
      t: Noise labels c_noise.
      y: Labels, or one-hot rows; None for no class.
      train: Whether to apply dropout, which needs the "dropout" key.
      augment_labels: Augmentation labels, A = `augment_dim`; None for images
        that are not augmented.
      **scalars: Further inputs, those of the field `scalars`.

    Returns:
      F in float32, with 2C channels if `learn_sigma`, else C.

    Raises:
      UsageError: A field has an invalid value, or fields do not fit together or
        the input.
    """
    self._check()
    levels = self._levels(x)
    scalars = self.check_scalars(scalars)
    embedding = self._embed(t, y, augment_labels, scalars, len(x))
    return self._network(x, levels, embedding, train).astype(jnp.float32)

  def _check(self) -> None:
    """Checks the fields of a subclass."""

  def _embed(
    self,
    t: jax.Array,
    y: jax.Array | None,
    augment_labels: jax.Array | None,
    scalars: dict[str, jax.Array],
    batch: int,
  ) -> jax.Array:
    """Returns the embedding (B, E) of all inputs but x."""
    raise NotImplementedError

  def _network(
    self,
    x: jax.Array,
    levels: list[tuple[str, int, int]],
    embedding: jax.Array,
    train: bool,
  ) -> jax.Array:
    """Applies encoder and decoder."""
    raise NotImplementedError

  @property
  def _out_channels(self) -> int:
    return self.in_channels * (1 + self.learn_sigma)

  def _one_hot(self, y: jax.Array | None, batch: int) -> jax.Array:
    """Returns (B, num_classes); zeros for the null class and if y is None."""
    if y is None:
      return jnp.zeros((batch, self.num_classes), jnp.float32)
    if y.ndim > 1:
      return y
    return jax.nn.one_hot(y, self.num_classes, dtype=jnp.float32)

  def _augment_labels(
    self, augment_labels: jax.Array | None, batch: int
  ) -> jax.Array:
    """Returns (B, augment_dim); zeros if the labels are None."""
    if augment_labels is None:
      return jnp.zeros((batch, self.augment_dim), jnp.float32)
    return augment_labels

  def _levels(self, x: jax.Array) -> list[tuple[str, int, int]]:
    """Returns name, height and channels of each level, finest first."""
    _, height, width, _ = x.shape
    deepest = 2 ** (len(self.channel_mult) - 1)
    if height % deepest or width % deepest:
      raise UsageError(
        f"input_size is {height}x{width}; expected multiples of {deepest}, "
        f"which {len(self.channel_mult)} levels of channel_mult need"
      )
    return [
      (f"{height >> i}x{width >> i}", height >> i, self.model_channels * mult)
      for i, mult in enumerate(self.channel_mult)
    ]

  def _apply_block(self, name, x, embedding, train, **fields):
    """Applies a block with the fields that all blocks of a network share."""
    cls = UNetBlock
    if self.remat != "none":
      policy = checkpoint_policy(self.remat)
      cls = nn.remat(UNetBlock, policy=policy, static_argnums=(3,))
    block = cls(
      name=name,
      dropout=self.dropout,
      attention=self.attention,
      dtype=self.dtype,
      **fields,
    )
    return block(x, embedding, train)


class SongUNet(_UNet):
  """DDPM++ and NCSN++ (Song et al.) as EDM trains them.

  Attributes:
    embedding_type: Embedding of the noise level: "positional" or "fourier".
    channel_mult_noise: Width of that embedding divided by `model_channels`.
    encoder_type: "standard", or how the input enters every level of the
      encoder: "skip" or "residual".
    decoder_type: "standard", or "skip", where every level outputs an image.
    resample_filter: Taps of the resampling filter.
    tmsa: Whether to use DiffiT's time-dependent attention (its Table 5).
    fourier_scale: Standard deviation of the frequencies of "fourier".
  """

  embedding_type: str = "positional"
  channel_mult_noise: int = 1
  encoder_type: str = "standard"
  decoder_type: str = "standard"
  resample_filter: tuple[int, ...] = (1, 1)
  tmsa: bool = False
  fourier_scale: float = 16.0

  def _network(self, x, levels, embedding, train):
    initial, last = Init("xavier_uniform"), Init("xavier_uniform", weight=1e-5)
    taps = self.resample_filter

    def conv(name, x, features, size=3, initial=initial, **fields):
      fields |= dict(initial=initial, taps=taps, dtype=self.dtype)
      return Conv(features, size, name=name, **fields)(x)

    def block(name, x, features, has_attention=False, **fields):
      return self._apply_block(
        name,
        x,
        embedding,
        train,
        features=features,
        num_heads=int(has_attention),
        skip_scale=math.sqrt(0.5),
        epsilon=1e-6,
        taps=taps,
        resample_proj=True,
        adaptive_scale=False,
        initial=initial,
        initial_last=last,
        initial_attn=Init("xavier_uniform", weight=math.sqrt(0.2)),
        tmsa=self.tmsa,
        **fields,
      )

    aux, skips = x, []
    for level, (size, height, features) in enumerate(levels):
      if level == 0:
        x = conv(f"enc_{size}_conv", x, self.model_channels)
      else:
        width = x.shape[-1]
        x = block(f"enc_{size}_down", x, width, down=True)
        if self.encoder_type == "skip":
          aux = conv(f"enc_{size}_aux_down", aux, aux.shape[-1], 0, down=True)
          x = x + conv(f"enc_{size}_aux_skip", aux, width, 1)
        elif self.encoder_type == "residual":
          name = f"enc_{size}_aux_residual"
          aux = conv(name, aux, width, down=True, fused=True)
          x = aux = (x + aux) / math.sqrt(2)
      skips.append(x)
      for i in range(self.num_blocks):
        has_attention = height in self.attn_resolutions
        x = block(f"enc_{size}_block{i}", x, features, has_attention)
        skips.append(x)

    image = None
    for level, (size, height, features) in reversed(list(enumerate(levels))):
      # Only the last block of a level has attention.
      attention = [False] * self.num_blocks + [height in self.attn_resolutions]
      is_lowest = level == len(levels) - 1
      x = _decoder_level(block, x, skips, size, features, attention, is_lowest)
      if level == 0 or self.decoder_type == "skip":
        if image is not None:
          name = f"dec_{size}_aux_up"
          image = conv(name, image, image.shape[-1], 0, up=True)
        h = nn.silu(group_norm(f"dec_{size}_aux_norm", x, 1e-6, self.dtype))
        h = conv(f"dec_{size}_aux_conv", h, self._out_channels, initial=last)
        image = h if image is None else image + h
    return image

  def _check(self) -> None:
    for field, choices in {
      "embedding_type": ("positional", "fourier"),
      "encoder_type": ("standard", "skip", "residual"),
      "decoder_type": ("standard", "skip"),
    }.items():
      if getattr(self, field) not in choices:
        raise UsageError(
          f"{field} is {getattr(self, field)!r}; expected one of: "
          f"{', '.join(choices)}"
        )

  def _embed(self, t, y, augment_labels, scalars, batch):
    width = self.model_channels * self.channel_mult_noise
    if self.embedding_type == "positional":
      h = noise_sinusoid(t, width, endpoint=True)
    else:
      h = FourierEmbed(width, self.fourier_scale, name="map_noise")(t)
    h = jnp.roll(h, width // 2, axis=-1)  # sine first
    for name, value in scalars.items():
      sinusoid = noise_sinusoid(value, width, endpoint=True)
      h = h + Linear(width, use_bias=False, name=f"map_{name}")(sinusoid)
    if self.num_classes:
      one_hot = self._one_hot(y, batch) * math.sqrt(self.num_classes)
      h = h + Linear(width, name="map_label")(one_hot)
    if self.augment_dim:
      map_augment = Linear(width, use_bias=False, name="map_augment")
      h = h + map_augment(self._augment_labels(augment_labels, batch))
    out = self.model_channels * self.channel_mult_emb
    h = nn.silu(Linear(out, name="map_layer0")(h))
    return nn.silu(Linear(out, name="map_layer1")(h))


class DhariwalUNet(_UNet):
  """ADM's U-Net (Dhariwal and Nichol) as EDM trains it.

  Attributes:
    channels_per_head: Channels of an attention head. Levels with fewer channels
      have no attention, even if `attn_resolutions` contains their height.
  """

  input_size: int | tuple[int, int] = 64
  model_channels: int = 192
  channel_mult: tuple[int, ...] = (1, 2, 3, 4)
  num_blocks: int = 3
  attn_resolutions: tuple[int, ...] = (32, 16, 8)
  dropout: float = 0.1
  num_classes: int = 1000
  augment_dim: int = 0
  channels_per_head: int = 64

  def _network(self, x, levels, embedding, train):
    initial, zero = _ADM_INIT, Init("kaiming_uniform", weight=0.0)

    def conv(name, x, features, initial=initial):
      return Conv(features, initial=initial, dtype=self.dtype, name=name)(x)

    def block(name, x, features, has_attention=False, **fields):
      return self._apply_block(
        name,
        x,
        embedding,
        train,
        features=features,
        num_heads=features // self.channels_per_head if has_attention else 0,
        initial=initial,
        initial_last=zero,
        **fields,
      )

    skips = []
    for level, (size, height, features) in enumerate(levels):
      if level == 0:
        x = conv(f"enc_{size}_conv", x, features)
      else:
        x = block(f"enc_{size}_down", x, x.shape[-1], down=True)
      skips.append(x)
      for i in range(self.num_blocks):
        has_attention = height in self.attn_resolutions
        x = block(f"enc_{size}_block{i}", x, features, has_attention)
        skips.append(x)

    for level, (size, height, features) in reversed(list(enumerate(levels))):
      attention = [height in self.attn_resolutions] * (self.num_blocks + 1)
      is_lowest = level == len(levels) - 1
      x = _decoder_level(block, x, skips, size, features, attention, is_lowest)
    x = nn.silu(group_norm("out_norm", x, 1e-5, self.dtype))
    return conv("out_conv", x, self._out_channels, zero)

  def _embed(self, t, y, augment_labels, scalars, batch):
    h = noise_sinusoid(t, self.model_channels, endpoint=False)
    for name, value in scalars.items():
      sinusoid = noise_sinusoid(value, self.model_channels, endpoint=False)
      map_scalar = Linear(h.shape[-1], use_bias=False, name=f"map_{name}")
      h = h + map_scalar(sinusoid)
    if self.augment_dim:
      zero = Init("kaiming_uniform", weight=0.0)
      map_augment = Linear(
        h.shape[-1], use_bias=False, initial=zero, name="map_augment"
      )
      h = h + map_augment(self._augment_labels(augment_labels, batch))
    out = self.model_channels * self.channel_mult_emb
    h = nn.silu(Linear(out, initial=_ADM_INIT, name="map_layer0")(h))
    h = Linear(out, initial=_ADM_INIT, name="map_layer1")(h)
    if self.num_classes:
      initial = Init("kaiming_normal", weight=math.sqrt(self.num_classes))
      map_label = Linear(out, use_bias=False, initial=initial, name="map_label")
      h = h + map_label(self._one_hot(y, batch))
    return nn.silu(h)


def _decoder_level(block, x, skips, size, features, attention, is_lowest):
  """Applies the blocks of a decoder level.

  Args:
    block: Function of a name, a feature map, its channels and more, which
      applies a block.
    x: Output of the level below, or of the encoder.
    skips: Outputs of the encoder; those of this level are removed.
    size: Name of the level.
    features: Channels of the level.
    attention: Whether each of the blocks after the first one or two has
      attention.
    is_lowest: Whether this is the lowest level, which does not upsample.
  """
  if is_lowest:
    x = block(f"dec_{size}_in0", x, x.shape[-1], True)
    x = block(f"dec_{size}_in1", x, x.shape[-1])
  else:
    x = block(f"dec_{size}_up", x, x.shape[-1], up=True)
  for i, has_attention in enumerate(attention):
    x = jnp.concatenate([x, skips.pop()], axis=-1)
    x = block(f"dec_{size}_block{i}", x, features, has_attention)
  return x
