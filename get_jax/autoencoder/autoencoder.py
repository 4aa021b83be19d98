"""The KL-autoencoder of Stable Diffusion: 8 times smaller latents."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.autoencoder.network import Decoder, Encoder
from get_jax.errors import UsageError


class AutoencoderKL(nn.Module):
  """Images to the moments of a Gaussian over latents, and latents to images.

  Call `model.apply({"params": params}, x, method="encode")`, and likewise
  "decode". Fields bear the names of the published `config.json` files, so that
  one can be passed as it is.

  Attributes:
    block_out_channels: widths of the levels, finest first.
    layers_per_block: residual blocks a level; the decoder has one more.
    in_channels: of the images, given and returned.
    latent_channels: C of the latents.
    norm_num_groups: of the group norms.
    use_quant_conv: whether a 1x1 convolution follows the encoder.
    use_post_quant_conv: whether one precedes the decoder.
    scaling_factor: what latents are multiplied by to have unit variance.
    shift_factor: what is subtracted from them before.
    dtype: type of the products; None is float32. Decoders overflow float16.
  """

  block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
  layers_per_block: int = 2
  in_channels: int = 3
  latent_channels: int = 4
  norm_num_groups: int = 32
  use_quant_conv: bool = True
  use_post_quant_conv: bool = True
  scaling_factor: float = 0.18215
  shift_factor: float = 0.0
  dtype: Any = None

  def setup(self):
    """Makes both halves."""
    common = dict(
      widths=self.block_out_channels,
      layers=self.layers_per_block,
      groups=self.norm_num_groups,
      dtype=self.dtype,
    )
    self.encoder = Encoder(features=2 * self.latent_channels, **common)
    self.decoder = Decoder(features=self.in_channels, **common)
    if self.use_quant_conv:
      self.quant_conv = nn.Conv(
        2 * self.latent_channels, (1, 1), dtype=self.dtype
      )
    if self.use_post_quant_conv:
      self.post_quant_conv = nn.Conv(
        self.latent_channels, (1, 1), dtype=self.dtype
      )

  @property
  def downsample(self) -> int:
    """How many times smaller the sides of a latent are."""
    return 2 ** (len(self.block_out_channels) - 1)

  def inputs(self, batch: int):
    """Shapes of the arguments of `__call__`."""
    side = 4 * self.downsample
    shape = (batch, side, side, self.in_channels)
    return (jax.ShapeDtypeStruct(shape, jnp.float32),)

  def encode(self, x: jax.Array) -> jax.Array:
    """Images (B, H, W, 3) in [-1, 1] to moments (B, h, w, 2C): mean, logvar.

    See `get_jax.autoencoder.posterior` for drawing latents from them.
    """
    moments = self.encoder(x)
    if self.use_quant_conv:
      moments = self.quant_conv(moments)
    return moments.astype(jnp.float32)

  def decode(self, z: jax.Array) -> jax.Array:
    """Unscaled latents (B, h, w, C) to images, about [-1, 1], not clipped."""
    if self.use_post_quant_conv:
      z = self.post_quant_conv(z)
    return self.decoder(z).astype(jnp.float32)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Images to their reconstructions from the posterior's mean."""
    return self.decode(self.encode(x)[..., : self.latent_channels])

  def scale(self, z: jax.Array) -> jax.Array:
    """Latents as the encoder gives them to those that are learnt."""
    return (z - self.shift_factor) * self.scaling_factor

  def unscale(self, z: jax.Array) -> jax.Array:
    """The inverse of `scale`."""
    return z / self.scaling_factor + self.shift_factor


_SIXTEEN = dict(
  latent_channels=16, use_quant_conv=False, use_post_quant_conv=False
)
SETTINGS = {
  "SD": {},  # 1.x and 2.x, sd-vae-ft-ema, sd-vae-ft-mse
  "SDXL": dict(scaling_factor=0.13025),
  "SD3": dict(**_SIXTEEN, scaling_factor=1.5305, shift_factor=0.0609),
  "FLUX.1": dict(**_SIXTEEN, scaling_factor=0.3611, shift_factor=0.1159),
}


def create_autoencoder(name: str = "SD", **fields) -> AutoencoderKL:
  """An autoencoder by name: "SD", "SDXL", "SD3" or "FLUX.1".

  Args:
    name: of the settings.
    fields: of `AutoencoderKL`, in place of theirs.

  Raises:
    UsageError: there is no such name or field.
  """
  if name not in SETTINGS:
    known = ", ".join(SETTINGS)
    raise UsageError(f"autoencoder is {name!r}; expected one of: {known}")
  try:
    return AutoencoderKL(**SETTINGS[name] | fields)
  except TypeError as error:
    raise UsageError(f"autoencoder {name!r}: {error}") from error


def decode_in_parts(
  model: AutoencoderKL, params: dict, z: jax.Array, part: int
) -> jax.Array:
  """`decode(unscale(z))` with the memory of `part` images; for use in jit.

  Decoding 512 pixels keeps about 1 GB an image alive. Parts of a batch leave
  the result as it is, which tiles of an image would not: the group norms look
  at all of it.

  Args:
    model: the autoencoder.
    params: its parameters.
    z: scaled latents (B, h, w, C).
    part: images decoded at once.
  """

  def decode(z):
    variables = {"params": params}
    return model.apply(variables, model.unscale(z)[None], method="decode")[0]

  return jax.lax.map(decode, z, batch_size=part)
