"""Fixed points in pure JAX: solvers, gradients and regularisers."""

from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.broyden import Broyden
from get_jax.equilibrium.gradients import (
  Implicit,
  JacobianFree,
  Phantom,
  Unrolled,
)
from get_jax.equilibrium.problem import fixed_point
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Simple

__all__ = [
  "Anderson",
  "Broyden",
  "Implicit",
  "JacobianFree",
  "Phantom",
  "Simple",
  "Solution",
  "Unrolled",
  "fixed_point",
]
