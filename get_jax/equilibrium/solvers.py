"""What the solvers have in common, and the plain iteration.

A solver is a frozen dataclass of settings with two methods. `start(z0)` makes
its memory. `update(step, z, image, memory)` sees one evaluation
image = f(z) and answers with the value that a caller would be given now, the
point to evaluate next, and the new memory. Counting, stopping and freezing
of samples are the loop's business.
"""

import dataclasses
from typing import Any

import jax

from get_jax.equilibrium import batch
from get_jax.equilibrium.typing import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Solver:
  """Limits shared by all solvers.

  Attributes:
    max_steps: evaluations of f at most, >= 1.
    tolerance: a sample is finished when its residual falls below it, and the
      value returned is the one of the smallest residual seen. 0.0 never stops
      but keeps the best; None neither stops nor keeps: exactly `max_steps`
      evaluations and the last iterate, without any tracking.
    relative: whether the tolerance is meant for ||f(z) - z|| / ||f(z)||.
  """

  max_steps: int = 40
  tolerance: float | None = None
  relative: bool = False

  def __post_init__(self):
    if self.max_steps < 1:
      raise ValueError(
        f"{type(self).__name__}.max_steps is {self.max_steps}; a solver needs "
        "at least one step."
      )
    if self.tolerance is not None and not self.tolerance >= 0:
      raise ValueError(
        f"{type(self).__name__}.tolerance is {self.tolerance}; it must be "
        "None or at least 0."
      )

  def start(self, z0: PyTree) -> Any:
    """The memory before the first evaluation."""
    raise NotImplementedError

  def update(
    self, step: Array, z: PyTree, image: PyTree, memory: Any
  ) -> tuple[PyTree, PyTree, Any]:
    """From f(z) to (value, next point, memory)."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Simple(Solver):
  """Plain iteration z <- damping f(z) + (1 - damping) z.

  Attributes:
    damping: in (0, 1]; 1 is undamped.
  """

  damping: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if not 0 < self.damping <= 1:
      raise ValueError(
        f"Simple.damping is {self.damping}; it must lie in (0, 1]."
      )

  def start(self, z0):
    """Nothing to remember."""
    return ()

  def update(self, step, z, image, memory):
    """The damped image is both the value and the next point."""
    if self.damping != 1:
      mixed = jax.tree.map(
        lambda p, q: self.damping * p + (1 - self.damping) * q,
        batch.widen(image),
        batch.widen(z),
      )
      image = batch.cast_like(mixed, image)
    return image, image, memory
