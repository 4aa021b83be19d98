"""Fixed points in pure JAX: solvers, gradients and regularisers."""

from get_jax.equilibrium.gradients import (
  Implicit as Implicit,
)
from get_jax.equilibrium.gradients import (
  JacobianFree as JacobianFree,
)
from get_jax.equilibrium.gradients import (
  Phantom as Phantom,
)
from get_jax.equilibrium.gradients import (
  Unrolled as Unrolled,
)
from get_jax.equilibrium.problem import fixed_point as fixed_point
from get_jax.equilibrium.solution import Solution as Solution
from get_jax.equilibrium.solvers import Simple as Simple
