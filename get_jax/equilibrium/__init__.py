"""Fixed-point solvers, their gradients and regularisers, in pure JAX."""

from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.broyden import Broyden
from get_jax.equilibrium.correction import (
  Constant,
  Exponential,
  Linear,
  correction_loss,
)
from get_jax.equilibrium.fixed_point import fixed_point
from get_jax.equilibrium.gradients import (
  Implicit,
  JacobianFree,
  Phantom,
  Unrolled,
)
from get_jax.equilibrium.regularizers import (
  gaussian_like,
  jacobian_penalty,
  spectral_radius,
)
from get_jax.equilibrium.settings import Settings
from get_jax.equilibrium.slots import solve_in_slots
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Simple

__all__ = [
  "Anderson",
  "Broyden",
  "Constant",
  "Exponential",
  "Implicit",
  "JacobianFree",
  "Linear",
  "Phantom",
  "Settings",
  "Simple",
  "Solution",
  "Unrolled",
  "correction_loss",
  "fixed_point",
  "gaussian_like",
  "jacobian_penalty",
  "solve_in_slots",
  "spectral_radius",
]
