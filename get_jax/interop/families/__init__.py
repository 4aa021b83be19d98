"""Model families with official checkpoints: their tensor names and sizes."""

import flax.linen as nn

from get_jax.autoencoder import AutoencoderKL
from get_jax.interop.families import (
  autoencoder,
  clip,
  diffit,
  dit,
  edm,
  get,
  unreleased,
  uvit,
)
from get_jax.interop.families.family import Family
from get_jax.models.diffit import DiffiT
from get_jax.models.diffit_image import ImageDiffiT
from get_jax.models.dit import DiT
from get_jax.models.get import GET
from get_jax.models.unet import DhariwalUNet, SongUNet
from get_jax.models.uvit import UViT
from get_jax.models.vit import ViT
from get_jax.text.encoder import CLIPTextEncoder

FAMILIES: dict[type[nn.Module], Family] = {
  AutoencoderKL: autoencoder.FAMILY,
  CLIPTextEncoder: clip.FAMILY,
  DhariwalUNet: edm.FAMILIES["DhariwalUNet"],
  DiT: dit.FAMILY,
  DiffiT: diffit.FAMILY,
  GET: get.GET_FAMILY,
  ImageDiffiT: unreleased.IMAGE_DIFFIT,
  SongUNet: edm.FAMILIES["SongUNet"],
  UViT: uvit.FAMILY,
  ViT: get.VIT_FAMILY,
}
