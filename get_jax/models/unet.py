"""EDM's networks: SongUNet (DDPM++, NCSN++) and ADM's U-Net.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
Models"; architectures of Song et al. and of Dhariwal and Nichol. They are the
F of EDM's preconditioning: their time is c_noise, ln(sigma) / 4 for EDM's own.
Submodules bear the official names with dots and slashes exchanged, which
count resolutions: `enc_16x16_block0`.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.block_stack import checkpoint_policy
from get_jax.nn.edm_layers import Conv, Init, Linear
from get_jax.nn.noise_embedding import FourierEmbed, noise_sinusoid
from get_jax.nn.patches import as_pair
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
ADM_VARIANTS = {"ADM-64": {}}

# Weights and biases of almost all of ADM's layers.
_THIRD = Init("kaiming_uniform", weight=math.sqrt(1 / 3), bias=math.sqrt(1 / 3))


class _UNet(nn.Module):
  """What the two networks share.

  Attributes:
    input_size: height and width of the input; one number if equal.
    in_channels: channels of the input.
    model_channels: channels of the first level, over channel_mult.
    channel_mult: channels of every level over model_channels.
    channel_mult_emb: width of the embedding over model_channels.
    num_blocks: blocks of every level, on the way down.
    attn_resolutions: heights at which there is attention.
    dropout: probability inside the blocks.
    num_classes: classes of the condition; 0 makes the network unconditional.
    null_class: whether label `num_classes` stands for "no class", which is a
      condition of zeros and has no parameters.
    augment_dim: length of the augmentation's labels; 0 for none.
    learn_sigma: twice the output channels.
    attention: implementation, see `get_jax.nn.attention.attend`.
    remat: see `get_jax.nn.block_stack.rematerialize`; block by block.
    dtype: type of the products; None is float32.
  """

  input_size: int | tuple[int, int] = 32
  in_channels: int = 3
  model_channels: int = 128
  channel_mult: tuple[int, ...] = (2, 2, 2)
  channel_mult_emb: int = 4
  num_blocks: int = 4
  attn_resolutions: tuple[int, ...] = (16,)
  dropout: float = 0.13
  num_classes: int = 0
  null_class: bool = False
  augment_dim: int = 9
  learn_sigma: bool = False
  attention: str = "auto"
  remat: str = "none"
  dtype: Any = None

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes and types of the call's arguments."""
    size = (batch_size, *as_pair(self.input_size), self.in_channels)
    x = jax.ShapeDtypeStruct(size, jnp.float32)
    t = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    y = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return x, t, (y if self.num_classes else None)

  @property
  def _out_channels(self):
    return self.in_channels * (1 + self.learn_sigma)

  def _one_hot(self, y, batch):
    """(B, num_classes); zeros for the null class and where there is no y."""
    if y is None:
      return jnp.zeros((batch, self.num_classes))
    return jax.nn.one_hot(y, self.num_classes) if y.ndim == 1 else y

  def _told(self, augment_labels, batch):
    if augment_labels is None:
      return jnp.zeros((batch, self.augment_dim))
    return augment_labels

  def _levels(self, x):
    """Name, height and channels of every level, the highest first."""
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

  def _run(self, name, x, embedding, train, **fields):
    """One block, with what all blocks of a network share."""
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
    embedding_type: of the noise level, "positional" or "fourier".
    channel_mult_noise: width of that embedding over model_channels.
    encoder_type: "standard", or how the input enters every level on the way
      down: "skip" or "residual".
    decoder_type: "standard", or "skip" where every level gives an image.
    resample_filter: taps of the resampling filter.
    tmsa: DiffiT's time-dependent attention (its Table 5).
  """

  embedding_type: str = "positional"
  channel_mult_noise: int = 1
  encoder_type: str = "standard"
  decoder_type: str = "standard"
  resample_filter: tuple[int, ...] = (1, 1)
  tmsa: bool = False

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
      t: (B,) noise labels c_noise.
      y: (B,) labels, or (B, num_classes) of one-hot rows; None is no class.
      train: whether to drop out; needs the "dropout" key then.
      augment_labels: (B, augment_dim); None is not augmented.

    Returns:
      (B, H, W, C) float32, or 2C channels with `learn_sigma`.

    Raises:
      UsageError: fields that do not fit each other or the input.
    """
    self._check()
    levels = self._levels(x)
    embedding = self._embed(t, y, augment_labels, len(x))
    initial, last = Init("xavier_uniform"), Init("xavier_uniform", weight=1e-5)
    taps = self.resample_filter

    def conv(name, x, features, size=3, initial=initial, **fields):
      fields |= dict(initial=initial, taps=taps, dtype=self.dtype)
      return Conv(features, size, name=name, **fields)(x)

    def block(name, x, features, attends=False, **fields):
      return self._run(
        name,
        x,
        embedding,
        train,
        features=features,
        num_heads=int(attends),
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
        attends = height in self.attn_resolutions
        x = block(f"enc_{size}_block{i}", x, features, attends)
        skips.append(x)

    image = None
    for level, (size, height, features) in reversed(list(enumerate(levels))):
      if level == len(levels) - 1:
        x = block(f"dec_{size}_in0", x, x.shape[-1], True)
        x = block(f"dec_{size}_in1", x, x.shape[-1])
      else:
        x = block(f"dec_{size}_up", x, x.shape[-1], up=True)
      for i in range(self.num_blocks + 1):
        attends = i == self.num_blocks and height in self.attn_resolutions
        x = jnp.concatenate([x, skips.pop()], axis=-1)
        x = block(f"dec_{size}_block{i}", x, features, attends)
      if level == 0 or self.decoder_type == "skip":
        if image is not None:
          name = f"dec_{size}_aux_up"
          image = conv(name, image, image.shape[-1], 0, up=True)
        h = nn.silu(group_norm(f"dec_{size}_aux_norm", x, 1e-6, self.dtype))
        h = conv(f"dec_{size}_aux_conv", h, self._out_channels, initial=last)
        image = h if image is None else image + h
    return image.astype(jnp.float32)

  def _check(self):
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

  def _embed(self, t, y, augment_labels, batch):
    """Noise level, label and augmentation as one vector, (B, E)."""
    width = self.model_channels * self.channel_mult_noise
    if self.embedding_type == "positional":
      h = noise_sinusoid(t, width, endpoint=True)
    else:
      h = FourierEmbed(width, name="map_noise")(t)
    h = jnp.roll(h, width // 2, axis=-1)  # sines first
    if self.num_classes:
      one_hot = self._one_hot(y, batch) * math.sqrt(self.num_classes)
      h = h + Linear(width, name="map_label")(one_hot)
    if self.augment_dim:
      told = Linear(width, use_bias=False, name="map_augment")
      h = h + told(self._told(augment_labels, batch))
    out = self.model_channels * self.channel_mult_emb
    h = nn.silu(Linear(out, name="map_layer0")(h))
    return nn.silu(Linear(out, name="map_layer1")(h))


class DhariwalUNet(_UNet):
  """ADM's U-Net (Dhariwal and Nichol) as EDM trains it.

  Attributes:
    channels_per_head: of the attention. Levels with fewer channels have no
      attention, also where it is asked for.
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

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    t: jax.Array,
    y: jax.Array | None = None,
    train: bool = False,
    augment_labels: jax.Array | None = None,
  ) -> jax.Array:
    """The raw output F; see `SongUNet.__call__`."""
    levels = self._levels(x)
    embedding = self._embed(t, y, augment_labels, len(x))
    initial, zero = _THIRD, Init("kaiming_uniform", weight=0.0)

    def conv(name, x, features, initial=initial):
      return Conv(features, initial=initial, dtype=self.dtype, name=name)(x)

    def block(name, x, features, attends=False, **fields):
      return self._run(
        name,
        x,
        embedding,
        train,
        features=features,
        num_heads=features // self.channels_per_head if attends else 0,
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
        attends = height in self.attn_resolutions
        x = block(f"enc_{size}_block{i}", x, features, attends)
        skips.append(x)

    for level, (size, height, features) in reversed(list(enumerate(levels))):
      if level == len(levels) - 1:
        x = block(f"dec_{size}_in0", x, x.shape[-1], True)
        x = block(f"dec_{size}_in1", x, x.shape[-1])
      else:
        x = block(f"dec_{size}_up", x, x.shape[-1], up=True)
      for i in range(self.num_blocks + 1):
        attends = height in self.attn_resolutions
        x = jnp.concatenate([x, skips.pop()], axis=-1)
        x = block(f"dec_{size}_block{i}", x, features, attends)
    x = nn.silu(group_norm("out_norm", x, 1e-5, self.dtype))
    return conv("out_conv", x, self._out_channels, zero).astype(jnp.float32)

  def _embed(self, t, y, augment_labels, batch):
    """Noise level, label and augmentation as one vector, (B, E)."""
    h = noise_sinusoid(t, self.model_channels, endpoint=False)
    if self.augment_dim:
      zero = Init("kaiming_uniform", weight=0.0)
      told = Linear(
        h.shape[-1], use_bias=False, initial=zero, name="map_augment"
      )
      h = h + told(self._told(augment_labels, batch))
    out = self.model_channels * self.channel_mult_emb
    h = nn.silu(Linear(out, initial=_THIRD, name="map_layer0")(h))
    h = Linear(out, initial=_THIRD, name="map_layer1")(h)
    if self.num_classes:
      start = Init("kaiming_normal", weight=math.sqrt(self.num_classes))
      label = Linear(out, use_bias=False, initial=start, name="map_label")
      h = h + label(self._one_hot(y, batch))
    return nn.silu(h)
