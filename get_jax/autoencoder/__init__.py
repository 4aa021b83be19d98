"""KL-autoencoders of latent diffusion, such as that of Stable Diffusion."""

from get_jax.autoencoder.autoencoder import (
  AutoencoderKL,
  create_autoencoder,
  decode_in_parts,
)

__all__ = ["AutoencoderKL", "create_autoencoder", "decode_in_parts"]
