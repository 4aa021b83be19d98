"""Exact parameter counts and multiply-adds, without data or accelerator."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from get_jax.models.parameters import abstract_params


@dataclasses.dataclass(frozen=True)
class Size:
  """How large a network is.

  Attributes:
    params: trained parameters.
    position_table: entries of fixed tables: of positions, which the DiT paper
      leaves out of its counts and the GET paper includes, and of frequencies.
    macs: multiply-adds of one forward pass of one sample: what the papers
      call flops.
  """

  params: int
  position_table: int
  macs: int


def measure(model: nn.Module, **call: Any) -> Size:
  """Counts parameters and multiply-adds of a network.

  Args:
    model: a network of `create_model`.
    **call: further arguments of its call, as `iterations` of GET.
  """
  params = abstract_params(model)
  # A kernel of one device would hide its products from the count.
  options = {"attention": "xla", "scan": True}
  fields = {f.name for f in dataclasses.fields(model)}
  plain = model.clone(**{k: v for k, v in options.items() if k in fields})

  def forward(params, *inputs):
    return plain.apply({"params": params}, *inputs, **call)

  macs = multiply_adds(forward, params, *model.inputs(1))
  return Size(*count_parameters(params), macs)


def count_parameters(params) -> tuple[int, int]:
  """Entries of a tree outside and inside fixed tables.

  These are position tables and the frequencies of a Fourier embedding, which
  are kept with the parameters and not trained.
  """
  outside = inside = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if getattr(path[-1], "key", None) in ("pos_table", "freqs"):
      inside += leaf.size
    else:
      outside += leaf.size
  return outside, inside


def multiply_adds(fn: Callable, *args: Any) -> int:
  """Multiply-adds in matrix products and convolutions of a function.

  Args:
    fn: any traceable function.
    *args: its arguments, arrays or shapes.

  Raises:
    NotImplementedError: products inside a loop whose number of turns is
      decided at run time, or in branches that cost differently.
  """
  return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
  return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation) -> int:
  params = equation.params
  match equation.primitive.name:
    case "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      left = equation.invars[0].aval.shape
      each = math.prod(left[axis] for axis in contracted)
      return each * equation.outvars[0].aval.size
    case "conv_general_dilated":
      _, inputs, *window = params["dimension_numbers"].rhs_spec
      kernel = equation.invars[1].aval.shape
      each = math.prod(kernel[axis] for axis in (inputs, *window))
      return each * equation.outvars[0].aval.size
    case "scan":
      return params["length"] * _count(params["jaxpr"].jaxpr)
    case "cond":
      costs = {_count(branch.jaxpr) for branch in params["branches"]}
      if len(costs) > 1:
        raise NotImplementedError(f"branches cost {sorted(costs)}")
      return costs.pop()
    case "while":
      if any(map(_count, _inner(params))):
        raise NotImplementedError(
          "products inside a loop whose length is decided at run time"
        )
      return 0
    case "pallas_call":
      raise NotImplementedError("products inside a Pallas kernel")
  return sum(map(_count, _inner(params)))


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
  """The programs inside an equation: calls, remat, custom derivatives."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, ClosedJaxpr):
        yield item.jaxpr
      elif isinstance(item, Jaxpr):
        yield item
