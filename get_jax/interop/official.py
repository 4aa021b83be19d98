"""Converts between official tensors and the parameters of a model."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from get_jax.errors import UsageError
from get_jax.interop import mismatch
from get_jax.interop.families import FAMILIES, find_family
from get_jax.interop.families.family import Tensors
from get_jax.interop.name_mapping import (
  build_mapping,
  params_from_tensors,
  tensors_from_params,
)
from get_jax.models.base import ImageModel
from get_jax.models.parameters import abstract_params
from get_jax.models.unet import DhariwalUNet, SongUNet
from get_jax.nn.patches import as_pair


def load_official(
  model: nn.Module, tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Converts tensors with official names and layouts to parameters.

  Args:
    model: a network made by `create_model`; its fields must match the file.
    tensors: the result of `extract_state_dict`. Half precision is converted to
      float32.

  Returns:
    The parameter tree, NumPy float32.

  Raises:
    UsageError: tensors are missing, unexpected or have other shapes. The
      message lists all of them and suggests a change of the config.
  """
  family = find_family(model)
  mapping = build_mapping(family.rules(model), abstract_params(model))
  constants = family.constants(model)
  tensors = family.canonicalize(dict(tensors), model)
  expected = {name: entry.shape for name, entry in mapping.items()}
  shapes = {name: tensor.shape for name, tensor in tensors.items()}
  optional = {n: c.shape for n, c in constants.items() if n in tensors}
  if phrases := mismatch.describe_mismatches(shapes, expected | optional):
    advice = mismatch.suggest_config_change(
      family, FAMILIES.values(), shapes, model
    )
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
  return params_from_tensors(mapping, tensors)


def infer_model(
  model: ImageModel, tensors: Mapping[str, np.ndarray]
) -> ImageModel:
  """Returns the network of the family of `model` that a file belongs to.

  Args:
    model: a network made by `create_model`; gives the fields that the shapes do
      not tell.
    tensors: the result of `extract_state_dict`.

  Raises:
    UsageError: the tokens of the file fit both the shape of the model's input
      and a square.
  """
  family = find_family(model)
  tensors = family.canonicalize(dict(tensors), model)
  shapes = {name: tensor.shape for name, tensor in tensors.items()}
  source = model
  for _ in range(2):  # The first pass finds the patch size, for instance.
    source = source.clone(**family.infer_fields(shapes, source))
  height, width = as_pair(source.input_size)
  side = math.isqrt(height * width)
  named_sizes = isinstance(model, SongUNet | DhariwalUNet)
  if height != width and side**2 == height * width and not named_sizes:
    raise UsageError(
      f"the file fits inputs of {height}x{width} and of {side}x{side}; "
      "expected a workdir with its config, see --mode=convert"
    )
  return source


def export_official(model: nn.Module, params: Any) -> Tensors:
  """Converts parameters to tensors with official names and layouts.

  This is the inverse of `load_official`; for float32 it is bit-exact.

  Args:
    model: a network made by `create_model`.
    params: its parameters.

  Raises:
    UsageError: no official checkpoints of this type of model are known.
  """
  family = find_family(model)
  mapping = build_mapping(family.rules(model), params)
  return tensors_from_params(mapping, params) | family.constants(model)
