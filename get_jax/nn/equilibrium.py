"""Equilibrium layer: the fixed point of a linen block."""

from typing import Any

import flax.linen as nn

from get_jax.equilibrium import Simple, Solution, Unrolled, fixed_point
from get_jax.equilibrium.gradients import Gradient
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, PyTree

SOLVER = Simple(max_steps=6)
GRADIENT = Unrolled()


class Equilibrium(nn.Module):
  """Fixed point of a block in its first argument.

  For example::

      layer = Equilibrium(block=MyBlock(features=64))
      variables = layer.init(key, z0, x)
      solution = layer.apply(variables, z0, x)

  The block is called as block(z, *inputs) and must return the shape and dtype
  of z. Its parameters are created once, under the name "block". Random numbers
  inside it, such as dropout masks, are the same in all iterations of a forward
  pass and differ between forward passes.

  Attributes:
    block: Module whose fixed point is computed. It may read any variables but
      must not change them.
    solver: Solver of the fixed point. `Settings.from_config` builds one from a
      config with strict checks.
    gradient: Gradient of the fixed point.
    normalization: Module that maps the block's parameters to those used in the
      iterations, once per forward pass; see `get_jax.nn.normalization`.
    random: Names of the random number streams that the block may use.
  """

  block: nn.Module
  solver: Solver = SOLVER
  gradient: Gradient = GRADIENT
  normalization: nn.Module | None = None
  random: tuple[str, ...] = ("dropout",)

  @nn.compact
  def __call__(
    self,
    z0: PyTree,
    *inputs: PyTree,
    taps: tuple[int, ...] | None = None,
    trace: bool = False,
    probe: Array | None = None,
    **static: Any,
  ) -> Solution:
    """Solves z = block(z, *inputs, **static).

    Args:
      z0: Initial state, leaves (B, ...).
      *inputs: Pytrees of arrays for the block.
      taps: See `fixed_point`.
      trace: See `fixed_point`.
      probe: See `fixed_point`.
      **static: Arguments of the block that are not arrays, such as train=True.

    Returns:
      The `Solution`.
    """
    if self.is_initializing():
      self.block(z0, *inputs, **static)
    block, variables = self.block.unbind()
    constants = dict(variables)
    params = constants.pop("params", {})
    if self.normalization is not None:
      params = self.normalization(params)
    rngs = {n: self.make_rng(n) for n in self.random if self.has_rng(n)}

    def f(params, x, z):
      constants, rngs, inputs = x
      return block.apply(
        {**constants, "params": params}, z, *inputs, rngs=rngs, **static
      )

    return fixed_point(
      f,
      params,
      (constants, rngs, inputs),
      z0,
      solver=self.solver,
      gradient=self.gradient,
      taps=taps,
      trace=trace,
      probe=probe,
    )
