"""Interface that each model family implements to import official checkpoints.

The functions at the end infer config fields from the shapes of tensors and are
shared by several families.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import flax.linen as nn
import numpy as np

from get_jax.interop.name_mapping import NameRule
from get_jax.nn.patches import as_pair

Tensors = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]

Model_contra = TypeVar("Model_contra", bound=nn.Module, contravariant=True)


@dataclasses.dataclass(frozen=True)
class Family(Generic[Model_contra]):
  """Official checkpoints of one model family, whose class is `Model_contra`.

  Attributes:
    name: name of the family in messages.
    signature: name of a tensor that no other family has. It identifies files of
      this family.
    rules: returns the name rules of a model.
    infer_fields: returns the model fields implied by the shapes in a file. They
      are used for the message about a file that does not fit.
    canonicalize: converts tensors with alternative names to the official names.
    constants: returns tensors of the official file that are not parameters
      here. They are exported, and compared if an imported file has them.
  """

  name: str
  signature: str
  rules: Callable[[Model_contra], Iterable[NameRule]]
  infer_fields: Callable[[Shapes, Model_contra], dict[str, Any]]
  canonicalize: Callable[[Tensors, Model_contra], Tensors] = (
    lambda tensors, model: tensors
  )
  constants: Callable[[Model_contra], Tensors] = lambda model: {}


def count_modules(shapes: Shapes, prefix: str) -> int:
  """Returns the number of modules prefix.0, prefix.1, ... in a file."""
  parts = (n.removeprefix(f"{prefix}.") for n in shapes if n.startswith(prefix))
  numbers = [int(p.split(".")[0]) for p in parts if p.split(".")[0].isdigit()]
  return max(numbers, default=-1) + 1


def infer_size_fields(
  tokens: int, patch_size: int, model: nn.Module
) -> dict[str, Any]:
  """Infers `input_size` from the number of tokens.

  Only a square input size can be inferred.

  Args:
    tokens: number of patches, N.
    patch_size: side of a patch.
    model: the model of the config, with `input_size`.

  Returns:
    `input_size`, or nothing if the model has this number of tokens or the
    number is not a square.
  """
  height, width = as_pair(model.input_size)
  side = math.isqrt(max(tokens, 0))
  if side**2 != tokens or tokens * patch_size**2 == height * width:
    return {}
  return {"input_size": side * patch_size}


def infer_label_fields(
  table: tuple[int, ...] | None, model: nn.Module
) -> dict[str, Any]:
  """Infers `num_classes` and `null_class` from the label embedding.

  Args:
    table: shape of the embedding table, (rows, D), or None if the file has
      none.
    model: the model of the config, with `num_classes`.
  """
  if not table:
    return {"num_classes": 0}
  rows = table[0]
  null = getattr(model, "null_class", None)
  if null is not None and rows == model.num_classes + (not null):
    return {"num_classes": model.num_classes, "null_class": not null}
  return {"num_classes": rows - bool(null)}


def infer_patch_fields(shapes: Shapes, name: str) -> dict[str, int]:
  """Infers width, channels and patch size from the patch embedding.

  Args:
    shapes: shapes in the file, by name.
    name: name of the patch embedding's kernel, (D, C, P, P).

  Returns:
    `hidden_size`, `in_channels` and `patch_size`, or nothing if the file has no
    such kernel.
  """
  kernel = shapes.get(name, ())
  if len(kernel) != 4:
    return {}
  width, channels, patch_size, _ = kernel
  return {
    "hidden_size": width,
    "in_channels": channels,
    "patch_size": patch_size,
  }


def infer_mlp_ratio(shapes: Shapes, block: str) -> float | None:
  """Returns the MLP expansion ratio of a block, or None if it is unknown.

  Args:
    shapes: shapes in the file, by name.
    block: name of the block, such as "blocks.0".
  """
  hidden = shapes.get(f"{block}.mlp.fc1.weight")
  return hidden[0] / hidden[1] if hidden else None
