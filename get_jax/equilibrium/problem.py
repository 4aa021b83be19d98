"""The front door: checks what comes in, solves, reports."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp

from get_jax.equilibrium import batch
from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.gradients import Gradient, Implicit
from get_jax.equilibrium.loop import Loop
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
  taps: tuple[int, ...] | None = None,
  trace: bool = False,
  probe: Array | None = None,
) -> Solution:
  """Solves z = f(params, x, z) for every sample of a batch.

  Args:
    f: returns a state of the structure, shapes and dtypes of z. Samples must
      not interact. What it is to be differentiated for must come in through
      params and x, not through its closure.
    params: shared by all samples; a pytree.
    x: the inputs; a pytree.
    z0: the start; a pytree of floating-point arrays with one leading batch
      axis B. Give the solution of a similar problem for a warm start.
    solver: how the fixed point is found.
    gradient: how it is differentiated.
    taps: the steps, from 1 to `solver.max_steps`, whose states are returned
      in `Solution.taps`, followed by the final state unless it is the last of
      them already. A tap holds what the solver would have returned had it
      stopped there.
    trace: whether the residuals of all evaluations are returned.
    probe: zeros of shape (B, 3), for `Implicit` only: the gradient with
      respect to it is residual, relative residual and steps of the backward
      solve.

  Returns:
    A `Solution`. A sample that did not converge, or whose f became NaN, gives
    the best state it reached and `converged` False.

  Raises:
    ValueError: for a z0 that is not a finite floating-point batch, an f that
      does not return what it was given, taps beyond the limit, or a probe
      that does not fit.
  """
  check_start(z0)
  if taps is not None:
    taps = check_taps(taps, solver.max_steps)
  if probe is not None:
    check_probe(probe, gradient, batch.size(z0))
  loop = Loop(Checked(f), params, x, solver, taps, trace)
  return gradient.solve(loop, jax.tree.map(jnp.asarray, z0), probe)


@dataclasses.dataclass(frozen=True, eq=False)
class Checked:
  """A map that refuses to change the structure, shapes or dtypes of z."""

  f: Map

  def __call__(self, params: PyTree, x: PyTree, z: PyTree) -> PyTree:
    """f(params, x, z), compared with z."""
    image = self.f(params, x, z)
    if jax.tree.structure(image) != jax.tree.structure(z):
      raise ValueError(
        f"f returned the structure {jax.tree.structure(image)}; it must "
        f"return that of z, {jax.tree.structure(z)}."
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


def check_start(z0: PyTree) -> None:
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
    # Under a transformation there is nothing to look at: such a sample comes
    # back as it went in, not converged.
    if not isinstance(leaf, jax.core.Tracer):
      with jax.ensure_compile_time_eval():
        finite = bool(jnp.isfinite(leaf).all())
      if not finite:
        raise ValueError(f"{name} holds NaN or infinity; it must be finite.")
  if len(sizes) > 1:
    raise ValueError(
      f"The arrays of z0 have batch sizes {sorted(sizes)}; they must agree."
    )


def check_taps(taps: tuple[int, ...], max_steps: int) -> tuple[int, ...]:
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
  """Raises ValueError unless the backward solve can report to the probe."""
  if not isinstance(gradient, Implicit):
    raise ValueError(
      f"A probe was given with {type(gradient).__name__}; only Implicit has a "
      "backward solve to report on."
    )
  if jnp.shape(probe) != (size, 3):
    raise ValueError(
      f"The probe has shape {jnp.shape(probe)}; it must be ({size}, 3)."
    )
