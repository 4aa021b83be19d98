"""The KL-autoencoder of Stable Diffusion, with latents 8 times smaller."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.autoencoder.network import Decoder, Encoder
from get_jax.errors import UsageError


class AutoencoderKL(nn.Module):
  """Encodes images to moments of a Gaussian over latents; decodes latents.

  Call `model.apply({"params": params}, x, method="encode")`, and likewise
  "decode". The fields have the names of the published `config.json` files, so
  the values of such a file can be passed directly.

  Attributes:
    block_out_channels: Channels of the levels, finest first.
    layers_per_block: Residual blocks per level; the decoder has one more.
    in_channels: Channels of the images, encoded and decoded.
    latent_channels: Channels C of the latents.
    norm_num_groups: Groups of the group norms.
    use_quant_conv: Whether a 1x1 convolution follows the encoder.
    use_post_quant_conv: Whether a 1x1 convolution precedes the decoder.
    scaling_factor: Factor that gives the latents unit variance.
    shift_factor: Value subtracted from the latents before scaling.
    dtype: Dtype of the products; None is float32. Decoders overflow in float16.
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
    """Creates encoder and decoder."""
    common: dict[str, Any] = dict(
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
    """Returns the factor by which the sides of a latent are smaller."""
    return 2 ** (len(self.block_out_channels) - 1)

  def inputs(self, batch: int) -> tuple[jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes of the arguments of `__call__`."""
    side = 4 * self.downsample
    shape = (batch, side, side, self.in_channels)
    return (jax.ShapeDtypeStruct(shape, jnp.float32),)

  def encode(self, x: Float[Array, "B H W 3"]) -> Float[Array, "B h w C2"]:
    """Encodes images in [-1, 1] to moments: mean and log-variance, C2 = 2C.

    `get_jax.autoencoder.posterior` samples latents from them.
    """
    moments = self.encoder(x)
    if self.use_quant_conv:
      moments = self.quant_conv(moments)
    return moments.astype(jnp.float32)

  def decode(self, z: Float[Array, "B h w C"]) -> Float[Array, "B H W 3"]:
    """Decodes unscaled latents to images, about [-1, 1], not clipped."""
    if self.use_post_quant_conv:
      z = self.post_quant_conv(z)
    return self.decoder(z).astype(jnp.float32)

  def __call__(self, x: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Reconstructs images from the mean of the posterior."""
    return self.decode(self.encode(x)[..., : self.latent_channels])

  def scale(self, z: jax.Array) -> jax.Array:
    """Scales latents of the encoder to those that diffusion models use."""
    return (z - self.shift_factor) * self.scaling_factor

  def unscale(self, z: jax.Array) -> jax.Array:
    """Inverts `scale`."""
    return z / self.scaling_factor + self.shift_factor


_CHANNELS_16: dict[str, Any] = dict(
  latent_channels=16, use_quant_conv=False, use_post_quant_conv=False
)
SETTINGS: dict[str, dict[str, Any]] = {
  "SD": {},  # 1.x and 2.x, sd-vae-ft-ema, sd-vae-ft-mse
  "SDXL": dict(scaling_factor=0.13025),
  "SD3": dict(**_CHANNELS_16, scaling_factor=1.5305, shift_factor=0.0609),
  "FLUX.1": dict(**_CHANNELS_16, scaling_factor=0.3611, shift_factor=0.1159),
}


def create_autoencoder(name: str = "SD", **fields: Any) -> AutoencoderKL:
  """Creates an autoencoder by name: "SD", "SDXL", "SD3" or "FLUX.1".

  Args:
    name: Name of the settings.
    **fields: Fields of `AutoencoderKL` that override those of the settings.

  Raises:
    UsageError: The name or a field is unknown.
  """
  if name not in SETTINGS:
    known = ", ".join(SETTINGS)
    raise UsageError(f"autoencoder is {name!r}; expected one of: {known}")
  try:
    return AutoencoderKL(**SETTINGS[name] | fields)
  except TypeError as error:
    raise UsageError(f"autoencoder {name!r}: {error}") from error


def decode_in_parts(
  model: AutoencoderKL, params: dict, z: Float[Array, "B h w C"], part: int
) -> Float[Array, "B H W 3"]:
  """Computes `decode(unscale(z))` in parts of the batch, to limit memory.

  For use in jit. Decoding to 512 pixels needs about 1 GB per image. Parts of a
  batch do not change the result; tiles of an image would, because the group
  norms depend on the whole image.

  Args:
    model: The autoencoder.
    params: Its parameters.
    z: Scaled latents.
    part: Number of images decoded at a time.
  """

  def decode(z):
    variables = {"params": params}
    return model.apply(variables, model.unscale(z)[None], method="decode")[0]

  return jax.lax.map(decode, z, batch_size=part)
