"""The solver interface, and plain fixed-point iteration.

A solver is a frozen dataclass of settings with two methods. `init(z0)` returns
its initial memory. `update(step, z, image, memory)` takes one evaluation
image = f(z) and returns the value to report if the solve ended here, the point
to evaluate next, and the new memory. `Iteration` counts the steps, stops the
solve and freezes finished samples.
"""

import dataclasses
from typing import Any

import jax
from jaxtyping import Int

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.typing import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Solver:
  """Base class of the solvers, with the settings common to all.

  Attributes:
    max_steps: maximum number of evaluations of f, >= 1.
    tolerance: a sample finishes when its residual falls below this value, and
      the value with the smallest residual is returned. With 0.0 the solve
      never stops early but still returns the value with the smallest
      residual. With None it runs exactly `max_steps` evaluations and returns
      the last iterate, without tracking residuals.
    relative: whether the tolerance applies to ||f(z) - z|| / ||f(z)|| instead
      of ||f(z) - z||.
  """

  max_steps: int = 40
  tolerance: float | None = None
  relative: bool = False

  def __post_init__(self):
    if self.max_steps < 1:
      raise ValueError(
        f"{type(self).__name__}.max_steps is {self.max_steps}; expected at "
        "least 1."
      )
    if self.tolerance is not None and not self.tolerance >= 0:
      raise ValueError(
        f"{type(self).__name__}.tolerance is {self.tolerance}; expected "
        "None or at least 0."
      )

  def init(self, z0: PyTree) -> Any:
    """Returns the memory before the first evaluation."""
    raise NotImplementedError

  def update(
    self, step: Int[Array, ""], z: PyTree, image: PyTree, memory: Any
  ) -> tuple[PyTree, PyTree, Any]:
    """Returns (value, next point, new memory) after one evaluation.

    Args:
      step: number of the evaluation, from 0; a scalar.
      z: the evaluated point, leaves (B, ...).
      image: f(z).
      memory: the memory returned by `init` or by the previous `update`.
    """
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Simple(Solver):
  """Plain iteration z <- damping f(z) + (1 - damping) z.

  Attributes:
    damping: in (0, 1]; 1 means no damping.
  """

  damping: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.damping <= 1:
      raise ValueError(
        f"Simple.damping is {self.damping}; expected a number in (0, 1]."
      )

  def init(self, z0):
    """Returns an empty memory."""
    return ()

  def update(self, step, z, image, memory):
    """Returns the damped image as both the value and the next point."""
    if self.damping != 1:
      mixed = jax.tree.map(
        lambda p, q: self.damping * p + (1 - self.damping) * q,
        tree_math.upcast(image),
        tree_math.upcast(z),
      )
      image = tree_math.cast_like(mixed, image)
    return image, image, memory
