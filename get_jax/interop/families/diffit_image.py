"""Checkpoints of image-space DiffiT, whose official weights are unreleased.

A tensor is named after its parameter path, with dots, in PyTorch's layouts.
"""

from collections.abc import Iterator

from flax import traverse_util

from get_jax.interop.families.family import Family
from get_jax.interop.name_mapping import NameRule
from get_jax.models.diffit_image import ImageDiffiT
from get_jax.models.parameters import abstract_params


def _rules(model: ImageDiffiT) -> Iterator[NameRule]:
  for keys in traverse_util.flatten_dict(abstract_params(model)):
    path = "/".join(keys[:-1] or keys)
    yield NameRule(path.replace("/", "."), path)


FAMILY = Family(
  name="image-space DiffiT",
  signature="",
  rules=_rules,
  infer_fields=lambda shapes, model: {},
)
