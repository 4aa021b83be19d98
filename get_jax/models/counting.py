"""Exact counts of parameters and multiply-adds, without data or accelerator."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from get_jax.equilibrium import Unrolled
from get_jax.models.parameters import abstract_inputs, abstract_params


@dataclasses.dataclass(frozen=True)
class ModelSize:
  """Parameter count and cost of a network.

  Attributes:
    params: Number of trained parameters.
    position_table: Number of entries of fixed tables: positions, which the DiT
      paper excludes from its counts and the GET paper includes, and
      frequencies.
    macs: Multiply-adds of one forward pass of one sample, which the papers call
      flops.
  """

  params: int
  position_table: int
  macs: int


def model_size(model: nn.Module, **call: Any) -> ModelSize:
  """Counts parameters and multiply-adds of a network.

  Args:
    model: A network of `create_model`.
    **call: Further arguments of its call, such as `iterations` of GET.
  """
  params = abstract_params(model)
  # The products inside a fused attention kernel cannot be counted, nor those in
  # a loop that may stop early; an equilibrium counts with all its iterations.
  options: dict[str, Any] = {
    "attention": "xla",
    "scan": True,
    "gradient": Unrolled(),
  }
  fields = {f.name for f in dataclasses.fields(model)}
  plain = model.clone(**{k: v for k, v in options.items() if k in fields})

  def forward(params, inputs, scalars):
    return plain.apply({"params": params}, *inputs, **scalars, **call)

  macs = multiply_adds(forward, params, *abstract_inputs(model))
  return ModelSize(*count_parameters(params), macs)


def count_parameters(params: Any) -> tuple[int, int]:
  """Returns the number of entries that are trained and that are fixed.

  Fixed are position tables and the frequencies of a Fourier embedding, which
  are stored with the parameters and not trained.
  """
  trained = fixed = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if getattr(path[-1], "key", None) in ("pos_table", "freqs"):
      fixed += leaf.size
    else:
      trained += leaf.size
  return trained, fixed


def multiply_adds(fn: Callable[..., Any], *args: Any) -> int:
  """Counts multiply-adds in matrix products and convolutions of a function.

  Of branches, the costliest counts.

  Args:
    fn: Any traceable function.
    *args: Its arguments, arrays or shapes.

  Raises:
    NotImplementedError: There are products inside a loop whose length is known
      only at run time, or in a Pallas kernel.
  """
  return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
  return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation) -> int:
  params = equation.params
  match equation.primitive.name:
    case "dot_general":
      (contracted, _), _ = params["dimension_numbers"]
      lhs = equation.invars[0].aval.shape
      macs_per_output = math.prod(lhs[axis] for axis in contracted)
      return macs_per_output * equation.outvars[0].aval.size
    case "conv_general_dilated":
      _, inputs, *window = params["dimension_numbers"].rhs_spec
      kernel = equation.invars[1].aval.shape
      macs_per_output = math.prod(kernel[axis] for axis in (inputs, *window))
      return macs_per_output * equation.outvars[0].aval.size
    case "scan":
      return params["length"] * _count(params["jaxpr"].jaxpr)
    case "cond":
      return max(_count(branch.jaxpr) for branch in params["branches"])
    case "while":
      if any(map(_count, _inner(params))):
        raise NotImplementedError(
          "products inside a loop whose length is known only at run time"
        )
      return 0
    case "pallas_call":
      raise NotImplementedError("products inside a Pallas kernel")
  return sum(map(_count, _inner(params)))


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
  """Yields the jaxprs in an equation: calls, remat, custom derivatives."""
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      if isinstance(item, ClosedJaxpr):
        yield item.jaxpr
      elif isinstance(item, Jaxpr):
        yield item
