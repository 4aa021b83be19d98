"""Registry of networks by the names that their papers give them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from get_jax.errors import UsageError, suggest
from get_jax.models import (
  diffit,
  diffit_image,
  dit,
  get,
  imf,
  mean_flow_dit,
  unet,
  uvit,
  vit,
)
from get_jax.models.base import ImageModel
from get_jax.nn.patches import as_pair


@dataclasses.dataclass(frozen=True)
class Family:
  """A module class, its published variants and the images they apply to.

  Attributes:
    module: The class. Its `input_size` is computed from image size and
      downsample.
    variants: Fields by name, which may include `image_size` and `downsample`.
    image_size: Image size in pixels if neither variant nor caller gives one.
    downsample: Pixels of an image per unit of the network's input.
  """

  module: type[ImageModel]
  variants: Mapping[str, Mapping[str, Any]]
  image_size: int
  downsample: int = 1


FAMILIES = {
  "DiT": Family(dit.DiT, dit.VARIANTS, image_size=256, downsample=8),
  "DiffiT": Family(
    diffit.DiffiT, diffit.VARIANTS, image_size=256, downsample=8
  ),
  "DiffiT-image": Family(
    diffit_image.ImageDiffiT, diffit_image.VARIANTS, image_size=32
  ),
  "MF": Family(
    mean_flow_dit.MeanFlowDiT,
    mean_flow_dit.VARIANTS,
    image_size=256,
    downsample=8,
  ),
  "iMF": Family(imf.IMF, imf.VARIANTS, image_size=256, downsample=8),
  "U-ViT": Family(uvit.UViT, uvit.VARIANTS, image_size=32),
  "ViT": Family(vit.ViT, vit.VARIANTS, image_size=32),
  "GET": Family(get.GET, get.VARIANTS, image_size=32),
  "SongUNet": Family(unet.SongUNet, unet.SONG_VARIANTS, image_size=32),
  "DhariwalUNet": Family(unet.DhariwalUNet, unet.ADM_VARIANTS, image_size=64),
}

DTYPES = ("float32", "bfloat16", "float16")


def names() -> list[str]:
  """Returns the names of all published variants."""
  return [name for family in FAMILIES.values() for name in family.variants]


def create_model(name: str, **fields: Any) -> ImageModel:
  """Creates a network by name.

  Args:
    name: A variant ("DiT-XL/2"), or a family ("DiT"), which starts from the
      defaults of the module.
    **fields: Fields of the module that override those of the variant; also
      `image_size` (a number, or height and width) and `downsample` (8 for
      latents of Stable Diffusion's autoencoder), which determine `input_size`.

  Returns:
    A flax.linen module without parameters.

  Raises:
    UsageError: The name, a field or the dtype is unknown, or `downsample` does
      not divide the image size.
  """
  family, variant = find_family(name)
  fields = {**variant, **fields}
  own = {f.name for f in dataclasses.fields(family.module)}
  known = sorted(own - {"parent", "name"} | {"image_size", "downsample"})
  for field in fields:
    if field not in known:
      raise UsageError(
        f"{name} has no field {field!r}; {suggest(field, known)}"
      )
  _check_dtype(fields.get("dtype"))
  image_size = fields.pop("image_size", family.image_size)
  downsample = fields.pop("downsample", family.downsample)
  if "input_size" not in fields:
    height, width = as_pair(image_size)
    if height % downsample or width % downsample:
      raise UsageError(
        f"image_size is {image_size}; expected a multiple of "
        f"downsample={downsample}"
      )
    height, width = height // downsample, width // downsample
    fields["input_size"] = height if height == width else (height, width)
  if isinstance(fields["input_size"], list):  # as in a config in JSON
    fields["input_size"] = tuple(fields["input_size"])
  return family.module(**fields)


def _check_dtype(dtype: Any) -> None:
  try:
    known = dtype is None or jnp.dtype(dtype).name in DTYPES
  except TypeError:
    known = False
  if not known:
    raise UsageError(
      f"dtype is {dtype!r}; expected one of: {', '.join(DTYPES)}"
    )


def find_family(name: str) -> tuple[Family, Mapping[str, Any]]:
  """Returns the family of a network and the fields of its variant.

  Args:
    name: a variant ("DiT-XL/2") or a family ("DiT"), which has no fields.

  Raises:
    UsageError: no network has that name.
  """
  for family_name, family in FAMILIES.items():
    if name == family_name:
      return family, {}
    if name in family.variants:
      return family, family.variants[name]
  known = [*FAMILIES, *names()]
  raise UsageError(f"model {name!r} does not exist; {suggest(name, known)}")
