"""Loads parameters from official tensors, and exports them."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from get_jax.errors import UsageError
from get_jax.interop import mismatch, names
from get_jax.interop.families import FAMILIES
from get_jax.interop.families.family import Family, Tensors
from get_jax.models.parameters import abstract_params


def load_official(
  model: nn.Module, tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Parameters of a model from tensors with official names and layouts.

  Args:
    model: a network of `create_model`; its fields must be those of the file.
    tensors: of `tensors_of`; half precision is widened.

  Returns:
    The parameter tree, NumPy float32.

  Raises:
    UsageError: tensors are missing, too many or of other shapes; the message
      names them all and the change of the config that would likely help.
  """
  family = _family(model)
  found = names.entries(family.rules(model), abstract_params(model))
  constants = family.constants(model)
  tensors = family.translate(dict(tensors), model)
  expected = {name: entry.shape for name, entry in found.items()}
  shapes = {name: tensor.shape for name, tensor in tensors.items()}
  optional = {n: c.shape for n, c in constants.items() if n in tensors}
  if phrases := mismatch.misfits(shapes, expected | optional):
    advice = mismatch.suggest_change(family, FAMILIES.values(), shapes, model)
    raise UsageError(
      f"the checkpoint does not fit the {family.name} of the config"
      + (f" ({advice}): " if advice else ": ")
      + "; ".join(phrases)
    )
  for name in optional:
    if not np.allclose(tensors[name], constants[name], rtol=0, atol=1e-6):
      raise UsageError(
        f"the checkpoint has a {name} that differs from the one that this "
        f"{family.name} computes"
      )
  return names.load(found, tensors)


def export_official(model: nn.Module, params: Any) -> Tensors:
  """Tensors with official names and layouts from parameters of a model.

  The inverse of `load_official`, exact to the bit in float32.
  """
  family = _family(model)
  found = names.entries(family.rules(model), params)
  return names.export(found, params) | family.constants(model)


def _family(model: nn.Module) -> Family:
  try:
    return FAMILIES[type(model)]
  except KeyError:
    known = ", ".join(family.name for family in FAMILIES.values())
    raise UsageError(
      f"{type(model).__name__} has no official checkpoints; expected one of: "
      f"{known}"
    ) from None
