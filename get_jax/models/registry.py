"""Every network by the name that its paper gives it."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.models import diffit, diffit_image, dit, get, unet, uvit, vit
from get_jax.nn.patches import as_pair


@dataclasses.dataclass(frozen=True)
class Family:
  """A module class, its published variants and what they are used on.

  Attributes:
    module: the class; its `input_size` is set from image size and downsample.
    variants: fields by name; `image_size` and `downsample` may be among them.
    image_size: pixels of an image, where neither variant nor caller says.
    downsample: pixels of an image per unit of the network's input.
  """

  module: type[nn.Module]
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
  "U-ViT": Family(uvit.UViT, uvit.VARIANTS, image_size=32),
  "ViT": Family(vit.ViT, vit.VARIANTS, image_size=32),
  "GET": Family(get.GET, get.VARIANTS, image_size=32),
  "SongUNet": Family(unet.SongUNet, unet.SONG_VARIANTS, image_size=32),
  "DhariwalUNet": Family(unet.DhariwalUNet, unet.ADM_VARIANTS, image_size=64),
}


DTYPES = ("float32", "bfloat16", "float16")


def names() -> list[str]:
  """All published variants."""
  return [name for family in FAMILIES.values() for name in family.variants]


def create_model(name: str, **fields: Any) -> nn.Module:
  """The network of that name.

  Args:
    name: a variant ("DiT-XL/2"), or a bare family ("DiT") whose fields are all
      given here.
    **fields: any field of the module; also `image_size` (a number, or height
      and width) and `downsample` (8 for latents of the usual autoencoder),
      which make `input_size`.

  Returns:
    A flax.linen module without parameters.

  Raises:
    UsageError: unknown name, field or type of the products, or an image size
      that `downsample` does not divide.
  """
  family, variant = _find(name)
  fields = {**variant, **fields}
  known = {f.name for f in dataclasses.fields(family.module)}
  known = sorted(known - {"parent", "name"} | {"image_size", "downsample"})
  for field in fields:
    if field not in known:
      raise UsageError(
        f"{name} has no field {field!r}{_close(field, known)}; "
        f"expected one of: {', '.join(known)}"
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


def _find(name: str) -> tuple[Family, Mapping[str, Any]]:
  for family_name, family in FAMILIES.items():
    if name == family_name:
      return family, {}
    if name in family.variants:
      return family, family.variants[name]
  every = [*FAMILIES, *names()]
  raise UsageError(
    f"there is no model {name!r}{_close(name, every)}; "
    f"expected one of: {', '.join(every)}"
  )


def _close(word: str, words: list[str]) -> str:
  close = difflib.get_close_matches(word, words, n=1, cutoff=0.7)
  return f" (did you mean {close[0]!r}?)" if close else ""
