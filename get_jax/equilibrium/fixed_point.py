"""Solves a fixed-point problem, after checks of the input."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.gradients import Gradient, Implicit
from get_jax.equilibrium.iteration import Iteration
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, Map, PyTree

SOLVER = Anderson(tolerance=1e-3)
GRADIENT = Implicit()


def fixed_point(
  f: Map,
  params: PyTree,
  x: PyTree,
  z0: PyTree,
  *,
  solver: Solver = SOLVER,
  gradient: Gradient = GRADIENT,
  taps: Sequence[int] | None = None,
  trace: bool = False,
  probe: Float[Array, "B 3"] | None = None,
) -> Solution:
  """Solves z = f(params, x, z) for every sample of a batch.

  Args:
    f: the map; returns a state of the structure, shapes and dtypes of z.
      Samples must not interact. Values with respect to which f is to be
      differentiated must be passed through params and x, not through its
      closure.
    params: parameters, shared by all samples; a pytree.
    x: inputs; a pytree.
    z0: initial state; a pytree of floating-point arrays with a leading batch
      axis B. Pass the solution of a similar problem for a warm start.
    solver: the forward solver.
    gradient: the gradient method.
    taps: ascending steps, from 1 to `solver.max_steps`, whose states are
      returned in `Solution.taps`, followed by the final state unless the last
      tap is `solver.max_steps`. A tap contains the value that the solver would
      return if it stopped at that step.
    trace: whether the residuals of all evaluations are returned.
    probe: zeros of shape (B, 3), only with `Implicit`. The gradient with
      respect to the probe is the residual, the relative residual and the
      number of steps of the backward solve per sample.

  Returns:
    A `Solution`. For a sample that does not converge, or for which f becomes
    NaN, it holds the best state reached and `converged` False.

  Raises:
    ValueError: z0 is not a finite floating-point batch, f does not return the
      structure, shapes and dtypes of z, the taps are out of range or do not
      ascend, or the probe does not match the gradient method or the batch.
  """
  check_z0(z0)
  steps = None if taps is None else check_taps(taps, solver.max_steps)
  if probe is not None:
    check_probe(probe, gradient, tree_math.batch_size(z0))
  iteration = Iteration(CheckedMap(f), params, x, solver, steps, trace)
  return gradient.solve(iteration, jax.tree.map(jnp.asarray, z0), probe)


@dataclasses.dataclass(frozen=True, eq=False)
class CheckedMap:
  """A map f that raises if it changes the structure, shapes or dtypes of z."""

  f: Map

  def __call__(self, params: PyTree, x: PyTree, z: PyTree) -> PyTree:
    """Returns f(params, x, z) after the comparison with z."""
    image = self.f(params, x, z)
    returned, expected = jax.tree.structure(image), jax.tree.structure(z)
    # The stubs of jaxlib lack the comparison operators of a PyTreeDef.
    if returned != expected:  # type: ignore[operator]
      raise ValueError(
        f"f returned the structure {returned}; it must return that of z, "
        f"{expected}."
      )
    for (path, leaf), given in zip(
      jax.tree.leaves_with_path(image), jax.tree.leaves(z), strict=True
    ):
      if leaf.shape != given.shape or leaf.dtype != given.dtype:
        raise ValueError(
          f"f returned {leaf.dtype}{list(leaf.shape)} for "
          f"z{jax.tree_util.keystr(path)}; it must return the shape and dtype "
          f"of z, {given.dtype}{list(given.shape)}."
        )
    return image


def check_z0(z0: PyTree) -> None:
  """Raises ValueError unless z0 is a finite floating-point batch."""
  leaves = jax.tree.leaves_with_path(z0)
  if not leaves:
    raise ValueError("z0 has no arrays; it must hold at least one.")
  sizes = set()
  for path, leaf in leaves:
    name = f"z0{jax.tree_util.keystr(path)}"
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
      raise ValueError(
        f"{name} has dtype {jnp.result_type(leaf)}; a state must be floating "
        "point."
      )
    if jnp.ndim(leaf) < 1:
      raise ValueError(f"{name} is a scalar; a state needs a batch axis.")
    sizes.add(jnp.shape(leaf)[0])
    # The values of a tracer are unknown. There, a sample that is not finite
    # is returned unchanged, not converged.
    if not isinstance(leaf, jax.core.Tracer):
      with jax.ensure_compile_time_eval():
        finite = bool(jnp.isfinite(leaf).all())
      if not finite:
        raise ValueError(f"{name} holds NaN or infinity; it must be finite.")
  if len(sizes) > 1:
    raise ValueError(
      f"The arrays of z0 have batch sizes {sorted(sizes)}; they must agree."
    )


def check_taps(taps: Sequence[int], max_steps: int) -> tuple[int, ...]:
  """Returns the taps as an ascending tuple, or raises ValueError."""
  taps = tuple(int(t) for t in taps)
  if any(a >= b for a, b in itertools.pairwise(taps)):
    raise ValueError(f"The taps {taps} must ascend.")
  if taps and not 1 <= taps[0] <= taps[-1] <= max_steps:
    raise ValueError(
      f"The taps {taps} must lie between 1 and the step limit {max_steps}."
    )
  return taps


def check_probe(probe: Array, gradient: Gradient, size: int) -> None:
  """Raises ValueError unless the gradient method can use the probe."""
  if not isinstance(gradient, Implicit):
    raise ValueError(
      f"A probe was given with {type(gradient).__name__}; only Implicit has a "
      "backward solve to report on."
    )
  if jnp.shape(probe) != (size, 3):
    raise ValueError(
      f"The probe has shape {jnp.shape(probe)}; it must be ({size}, 3)."
    )
