"""The latent space: the KL-autoencoder of Stable Diffusion and its kin."""

from get_jax.autoencoder.autoencoder import AutoencoderKL as AutoencoderKL
from get_jax.autoencoder.autoencoder import (
  create_autoencoder as create_autoencoder,
)
from get_jax.autoencoder.autoencoder import decode_in_parts as decode_in_parts
