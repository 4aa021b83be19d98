"""Maps official tensor names and layouts to parameter paths, and back.

A `NameRule` pairs a module of the official code with a module of this library;
`{}` matches a number. The names and layouts of a module's tensors follow from
the parameter names of Flax: a `kernel`, for example, is the transposed `weight`
of a PyTorch layer.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util


@dataclasses.dataclass(frozen=True)
class LayoutTransform:
  """A change of array layout and its inverse.

  Attributes:
    load: converts an official array to the layout of this library.
    export: converts an array of this library to the official layout.
  """

  load: Callable[[np.ndarray], np.ndarray]
  export: Callable[[np.ndarray], np.ndarray]


IDENTITY = LayoutTransform(lambda x: x, lambda x: x)
LINEAR = LayoutTransform(np.transpose, np.transpose)  # (out, in) <-> (in, out)
CONVOLUTION = LayoutTransform(  # OIHW <-> HWIO
  lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)
)
POSITION_TABLE = LayoutTransform(  # (1, N, D) <-> (N, D)
  lambda x: x[0], lambda x: x[None]
)


def patch_convolution(patch_size: int) -> LayoutTransform:
  """Returns the transform of a patch embedding's kernel.

  The official kernel is that of a convolution, (D, C, P, P). Here it is the
  kernel (P*P*C, D) of a linear layer on flattened patches, in which the channel
  index varies fastest.

  Args:
    patch_size: P, side of a patch in pixels.
  """
  p = patch_size

  def load(x):
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])

  def export(x):
    return x.reshape(p, p, -1, x.shape[-1]).transpose(3, 2, 0, 1)

  return LayoutTransform(load, export)


@dataclasses.dataclass(frozen=True)
class NameRule:
  """Pairs an official name with a parameter path.

  `{}` stands for each number in the two names.

  Attributes:
    official: name of an official module, such as "blocks.{}.attn.qkv", or of a
      tensor.
    path: path of the corresponding module of this library, such as
      "blocks_{}/attn/qkv", or of a parameter.
    kernel: transform of the module's kernel, or of the parameter. If None, the
      rank of a kernel selects the transform, and a parameter is not changed.
  """

  official: str
  path: str
  kernel: LayoutTransform | None = None

  def match(self, path: str) -> str | None:
    """Returns the official name of a path, or None if it does not match."""
    match = re.fullmatch(re.escape(self.path).replace(r"\{\}", r"(\d+)"), path)
    return match and self.official.format(*match.groups())


@dataclasses.dataclass(frozen=True)
class MappedTensor:
  """An official tensor and the parameter that it corresponds to.

  Attributes:
    official: name in the official file.
    shape: shape in the official file.
    path: path in the parameter tree.
    transform: converts between the two layouts.
  """

  official: str
  shape: tuple[int, ...]
  path: tuple[str, ...]
  transform: LayoutTransform


NameMapping = Mapping[str, MappedTensor]

_WEIGHTS = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def build_mapping(
  rules: Iterable[NameRule], params: Any
) -> dict[str, MappedTensor]:
  """Applies rules to a parameter tree.

  Args:
    rules: for each parameter, the first rule that matches is used.
    params: a tree of arrays or of `jax.ShapeDtypeStruct`.

  Returns:
    One entry per parameter, by official name.

  Raises:
    KeyError: no rule matches a parameter.
  """
  rules = tuple(rules)
  mapping = {}
  for path, leaf in traverse_util.flatten_dict(params).items():
    official, transform = _official_name(rules, path, len(leaf.shape))
    # A broadcast scalar has the shape and takes no memory.
    placeholder = np.broadcast_to(np.float32(0), leaf.shape)
    shape = transform.export(placeholder).shape
    mapping[official] = MappedTensor(official, shape, path, transform)
  return mapping


def _official_name(
  rules: Iterable[NameRule], path: tuple[str, ...], rank: int
) -> tuple[str, LayoutTransform]:
  *module, leaf = path
  for rule in rules:
    if (name := rule.match("/".join(path))) is not None:
      return name, rule.kernel or IDENTITY
    if (name := rule.match("/".join(module))) is not None:
      if leaf == "kernel":
        by_rank = {2: LINEAR, 4: CONVOLUTION}
        transform = rule.kernel or by_rank[rank]
      else:
        transform = IDENTITY
      return f"{name}.{_WEIGHTS.get(leaf, leaf)}", transform
  raise KeyError(f"no rule gives {'/'.join(path)} an official name")


def params_from_tensors(
  mapping: NameMapping, tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Converts official tensors to a parameter tree of new float32 arrays.

  Args:
    mapping: the result of `build_mapping`.
    tensors: the official tensors, by name.
  """
  flat = {
    entry.path: np.array(
      entry.transform.load(tensors[name]), np.float32, order="C"
    )
    for name, entry in mapping.items()
  }
  return traverse_util.unflatten_dict(flat)


def tensors_from_params(
  mapping: NameMapping, params: Any
) -> dict[str, np.ndarray]:
  """Converts a parameter tree to official tensors, float32 and contiguous.

  Args:
    mapping: the result of `build_mapping`.
    params: the parameter tree.
  """
  flat = traverse_util.flatten_dict(params)
  return {
    name: np.array(
      entry.transform.export(np.asarray(flat[entry.path])),
      np.float32,
      order="C",
    )
    for name, entry in mapping.items()
  }
