"""Official tensor names and our parameter paths, one rule for both ways.

A rule pairs an official module with one of ours; `{}` stands for a number.
What its tensors are called and how they are laid out follows from the leaf:
a kernel of ours is a transposed `weight` of torch, and so on.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util


@dataclasses.dataclass(frozen=True)
class Transform:
  """A change of layout and its inverse.

  Attributes:
    load: official array to ours.
    export: our array to the official one.
  """

  load: Callable[[np.ndarray], np.ndarray]
  export: Callable[[np.ndarray], np.ndarray]


SAME = Transform(lambda x: x, lambda x: x)
LINEAR = Transform(np.transpose, np.transpose)  # (out, in) <-> (in, out)
CONVOLUTION = Transform(  # OIHW <-> HWIO
  lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)
)
TABLE = Transform(lambda x: x[0], lambda x: x[None])  # (1, N, D) <-> (N, D)


def patch_convolution(patch_size: int) -> Transform:
  """(D, C, P, P) of a convolution to (P*P*C, D) of a linear layer on patches.

  Our patches have the channel fastest.
  """
  p = patch_size

  def load(x):
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])

  def export(x):
    return x.reshape(p, p, -1, x.shape[-1]).transpose(3, 2, 0, 1)

  return Transform(load, export)


@dataclasses.dataclass(frozen=True)
class Rule:
  """An official name and our path, with `{}` for each number in them.

  Attributes:
    official: a module, as "blocks.{}.attn.qkv", or a tensor.
    ours: the module of ours, as "blocks_{}/attn/qkv", or the parameter.
    kernel: transform of the module's kernel, or of the parameter; None takes
      it by the kernel's rank, and a parameter as it is.
  """

  official: str
  ours: str
  kernel: Transform | None = None

  def match(self, path: str) -> str | None:
    """The official name of our path, or None where the rule is another's."""
    found = re.fullmatch(re.escape(self.ours).replace(r"\{\}", r"(\d+)"), path)
    return found and self.official.format(*found.groups())


@dataclasses.dataclass(frozen=True)
class Entry:
  """One tensor under both names.

  Attributes:
    official: name in the official file.
    shape: shape in the official file.
    ours: path in our tree.
    transform: between the layouts.
  """

  official: str
  shape: tuple[int, ...]
  ours: tuple[str, ...]
  transform: Transform


_WEIGHTS = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def entries(rules: Iterable[Rule], params: Any) -> dict[str, Entry]:
  """Applies rules to a tree of parameters (arrays, or their shapes).

  Returns:
    One entry per parameter, by official name.

  Raises:
    KeyError: no rule covers a parameter.
  """
  rules = tuple(rules)
  found = {}
  for path, leaf in traverse_util.flatten_dict(params).items():
    official, transform = _official(rules, path, len(leaf.shape))
    # A broadcast scalar has a shape and no contents to copy.
    outline = np.broadcast_to(np.float32(0), leaf.shape)
    shape = transform.export(outline).shape
    found[official] = Entry(official, shape, path, transform)
  return found


def _official(rules, path: tuple[str, ...], rank: int) -> tuple[str, Transform]:
  *module, leaf = path
  for rule in rules:
    if (name := rule.match("/".join(path))) is not None:
      return name, rule.kernel or SAME
    if (name := rule.match("/".join(module))) is not None:
      if leaf == "kernel":
        natural = {2: LINEAR, 4: CONVOLUTION}
        transform = rule.kernel or natural[rank]
      else:
        transform = SAME
      return f"{name}.{_WEIGHTS.get(leaf, leaf)}", transform
  raise KeyError(f"no rule gives {'/'.join(path)} an official name")


def load(
  found: Mapping[str, Entry], tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
  """Official tensors as our tree, float32, in memory of its own."""
  flat = {
    entry.ours: np.array(
      entry.transform.load(tensors[name]), np.float32, order="C"
    )
    for name, entry in found.items()
  }
  return traverse_util.unflatten_dict(flat)


def export(found: Mapping[str, Entry], params: Any) -> dict[str, np.ndarray]:
  """Our tree as official tensors, float32 and contiguous."""
  flat = traverse_util.flatten_dict(params)
  return {
    name: np.array(
      entry.transform.export(np.asarray(flat[entry.ours])),
      np.float32,
      order="C",
    )
    for name, entry in found.items()
  }
