"""What a family's file must say to have its official checkpoints read."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from get_jax.interop.names import Rule
from get_jax.nn.patches import as_pair

Tensors = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Family:
  """Names and peculiarities of one family's official checkpoints.

  Attributes:
    name: of the family, in messages.
    telltale: the name of a tensor that no other family has.
    rules: the name rules of a model.
    fields: the fields of a model that the shapes in a file tell, for the
      message about a file that does not fit.
    translate: other spellings of the names into the official one.
    constants: tensors of the official file that are no parameters of ours;
      they are written out, and compared where a file has them.
  """

  name: str
  telltale: str
  rules: Callable[[nn.Module], Iterable[Rule]]
  fields: Callable[[Shapes, nn.Module], dict[str, Any]]
  translate: Callable[[Tensors, nn.Module], Tensors] = lambda tensors, _: (
    tensors
  )
  constants: Callable[[nn.Module], Tensors] = lambda _: {}


def count(shapes: Shapes, prefix: str) -> int:
  """Number of modules prefix.0, prefix.1, ... in a file."""
  parts = (n.removeprefix(f"{prefix}.") for n in shapes if n.startswith(prefix))
  numbers = [int(p.split(".")[0]) for p in parts if p.split(".")[0].isdigit()]
  return max(numbers, default=-1) + 1


def size_fields(
  tokens: int, patch_size: int, model: nn.Module
) -> dict[str, Any]:
  """The input size told by a count of tokens, where it is not the model's.

  A count tells the size of square inputs only.
  """
  height, width = as_pair(model.input_size)
  side = math.isqrt(max(tokens, 0))
  if side**2 != tokens or tokens * patch_size**2 == height * width:
    return {}
  return {"input_size": side * patch_size}


def label_fields(rows: int | None, model: nn.Module) -> dict[str, Any]:
  """Fields told by the rows of a label table, None where there is none."""
  if rows is None:
    return {"num_classes": 0}
  null = getattr(model, "null_class", None)
  if null is not None and rows == model.num_classes + (not null):
    return {"num_classes": model.num_classes, "null_class": not null}
  return {"num_classes": rows - bool(null)}
