"""Model families with official checkpoints, and how to convert each."""

from typing import Never, TypeVar, cast

import flax.linen as nn

from get_jax.autoencoder import AutoencoderKL
from get_jax.errors import UsageError
from get_jax.interop.families import (
  autoencoder,
  clip,
  diffit,
  diffit_image,
  dit,
  edm,
  get,
  imf,
  mean_flow,
  uvit,
)
from get_jax.interop.families.family import Family
from get_jax.models.diffit import DiffiT
from get_jax.models.diffit_image import ImageDiffiT
from get_jax.models.dit import DiT
from get_jax.models.get import GET
from get_jax.models.imf import IMF
from get_jax.models.mean_flow_dit import MeanFlowDiT
from get_jax.models.unet import DhariwalUNet, SongUNet
from get_jax.models.uvit import UViT
from get_jax.models.vit import ViT
from get_jax.text.encoder import CLIPTextEncoder

__all__ = ["FAMILIES", "Family", "find_family"]

Model = TypeVar("Model", bound=nn.Module)

# `Family[Never]` is the common supertype of all families. `find_family` returns
# the precise type.
FAMILIES: dict[type[nn.Module], Family[Never]] = {
  AutoencoderKL: autoencoder.FAMILY,
  CLIPTextEncoder: clip.FAMILY,
  DhariwalUNet: edm.FAMILIES["DhariwalUNet"],
  DiT: dit.FAMILY,
  DiffiT: diffit.FAMILY,
  GET: get.GET_FAMILY,
  IMF: imf.FAMILY,
  ImageDiffiT: diffit_image.FAMILY,
  MeanFlowDiT: mean_flow.FAMILY,
  SongUNet: edm.FAMILIES["SongUNet"],
  UViT: uvit.FAMILY,
  ViT: get.VIT_FAMILY,
}


def find_family(model: Model) -> Family[Model]:
  """Returns the checkpoint family of a model.

  Args:
    model: a network made by `create_model`, an autoencoder or a text encoder.

  Raises:
    UsageError: no official checkpoints of this type of model are known.
  """
  try:
    family = FAMILIES[type(model)]
  except KeyError:
    known = ", ".join(family.name for family in FAMILIES.values())
    raise UsageError(
      f"{type(model).__name__} has no official checkpoints; expected one of: "
      f"{known}"
    ) from None
  # A dict cannot express that its key determines the type of its value.
  return cast(Family[Model], family)
