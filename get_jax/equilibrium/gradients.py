"""Gradient methods of a fixed point, independent of the solver.

A gradient method is a frozen dataclass. `Unrolled` differentiates through the
steps of the solver. The other methods solve without a derivative and then
attach a derivative to the solution; `attach` does that for any state.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.iteration import Iteration
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Simple, Solver
from get_jax.equilibrium.typing import Array, Map, PyTree


@dataclasses.dataclass(frozen=True)
class Gradient:
  """Base class: solves, then attaches a derivative to the value and taps."""

  def solve(
    self, iteration: Iteration, z0: PyTree, probe: Float[Array, "B 3"] | None
  ) -> Solution:
    """Runs the iteration from z0 and returns a differentiable solution.

    Args:
      iteration: the map, its arguments and the solver.
      z0: the initial state, leaves (B, ...).
      probe: see `get_jax.equilibrium.fixed_point`.
    """
    frozen = iteration.without_gradient()
    start = frozen.init(jax.lax.stop_gradient(z0))
    state, kept, trace = frozen.run(start, iteration.solver.max_steps)
    solution = frozen.solution(state, kept, trace)
    return self.with_gradient(iteration, solution, probe)

  def with_gradient(
    self,
    iteration: Iteration,
    solution: Solution,
    probe: Float[Array, "B 3"] | None,
  ) -> Solution:
    """Returns the same solution with derivatives."""
    value = self.attach(
      iteration.f, iteration.params, iteration.x, solution.value, probe=probe
    )
    taps = solution.taps
    if taps is not None:
      attach = self.for_taps().attach
      earlier = jax.vmap(
        functools.partial(attach, iteration.f, iteration.params, iteration.x)
      )(jax.tree.map(lambda a: a[:-1], taps))
      taps = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b[None]]), earlier, value
      )
    return dataclasses.replace(solution, value=value, taps=taps)

  def for_taps(self) -> "Gradient":
    """Returns the gradient method of the taps before the final state."""
    return self

  def attach(
    self,
    f: Map,
    params: PyTree,
    x: PyTree,
    z: PyTree,
    probe: Float[Array, "B 3"] | None = None,
  ) -> PyTree:
    """Returns a state with a derivative with respect to params and x.

    Args:
      f: the map f(params, x, z).
      params: parameters of f.
      x: inputs of f.
      z: the state, leaves (B, ...); its own derivative is discarded.
      probe: see `get_jax.equilibrium.fixed_point`.
    """
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Unrolled(Gradient):
  """Backpropagation through the solver's steps, all of them or the last ones.

  Attributes:
    steps: number of last steps that are differentiated; None means all. The
      steps before them stop at the tolerance. The differentiated steps do not
      stop, because a finished sample needs them for its derivative. They are
      plain steps, because acceleration is ill-defined at a fixed point.
    policy: None stores every intermediate array for the backward pass. The
      name of a policy in `jax.checkpoint_policies`, or a policy, recomputes
      what the policy does not save: "nothing_saveable" stores one state per
      step.
    unroll: number of iterations to unroll in the compiled loop, as in
      `lax.scan`.
  """

  steps: int | None = None
  policy: str | Callable | None = None
  unroll: int = 1

  def __post_init__(self):
    if self.steps is not None and self.steps < 1:
      raise ValueError(
        f"Unrolled.steps is {self.steps}; expected None or at least 1."
      )
    check_policy(self)

  def solve(self, iteration, z0, probe):
    """Runs the iteration, with the differentiated steps as a `lax.scan`."""
    count = iteration.solver.max_steps
    if self.steps is None or self.steps >= count:
      state, kept, trace = iteration.unroll(
        iteration.init(z0), 0, count, self.wrap, self.unroll
      )
      return iteration.solution(state, kept, trace)
    start = count - self.steps
    before, early, early_trace = iteration.without_gradient().run(
      iteration.without_gradient().init(jax.lax.stop_gradient(z0)), start
    )
    # All samples continue from their best state. The last state is returned,
    # because the states before these steps have no derivative.
    tail = iteration.plain()
    state, kept, trace = tail.unroll(
      tail.init(before.value), start, count, self.wrap, self.unroll
    )
    state = state._replace(steps=state.steps + before.steps)
    kept, trace = jax.tree.map(
      lambda a, b: jnp.concatenate([a, b]), (early, early_trace), (kept, trace)
    )
    return iteration.solution(state, kept, trace)

  def wrap(self, function: Callable) -> Callable:
    """Applies the checkpoint policy to a function."""
    if self.policy is None:
      return function
    policy = self.policy
    if isinstance(policy, str):
      policy = getattr(jax.checkpoint_policies, policy)
    return jax.checkpoint(function, policy=policy, prevent_cse=False)


def check_policy(gradient: "Unrolled | Phantom") -> None:
  """Raises ValueError if the policy is not a name of a checkpoint policy."""
  policy = gradient.policy
  if isinstance(policy, str) and not hasattr(jax.checkpoint_policies, policy):
    raise ValueError(
      f"{type(gradient).__name__}.policy is {policy!r}; "
      "jax.checkpoint_policies has no such name."
    )


@dataclasses.dataclass(frozen=True)
class Phantom(Gradient):
  """Phantom gradient: differentiates damped steps after the solver.

  The state from which the steps start is a constant.

  Source: Geng et al., On Training Implicit Models, 2021.

  Attributes:
    steps: number of evaluations of f after the solver, >= 1.
    tau: damping factor of the steps z <- tau f(z) + (1 - tau) z, in (0, 1].
    policy: as in `Unrolled`.
  """

  steps: int = 1
  tau: float = 1.0
  policy: str | Callable | None = None

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f"Phantom.steps is {self.steps}; expected at least 1.")
    if not 0 < self.tau <= 1:
      raise ValueError(
        f"Phantom.tau is {self.tau}; expected a number in (0, 1]."
      )
    check_policy(self)

  def attach(self, f, params, x, z, probe=None):
    """Returns the state after the damped steps."""
    iteration = Iteration(f, params, x, Simple(self.steps, damping=self.tau))
    unrolled = Unrolled(policy=self.policy)
    return unrolled.solve(iteration, jax.lax.stop_gradient(z), None).value


@dataclasses.dataclass(frozen=True)
class JacobianFree(Gradient):
  """Jacobian-free gradient: differentiates one evaluation of f at z.

  It neglects that the state z depends on the parameters: y = g instead of the
  backward system of `Implicit`.

  Source: Fung et al., JFB: Jacobian-Free Backpropagation, 2022.
  """

  def attach(self, f, params, x, z, probe=None):
    """Returns z with the derivative of f(params, x, z) at constant z."""
    return _attach(f, None, params, x, jax.lax.stop_gradient(z), None)


# The tolerance is relative because the scale of a cotangent is that of the
# loss divided by the batch size.
ADJOINT_SOLVER = Anderson(max_steps=40, tolerance=1e-6, relative=True)


@dataclasses.dataclass(frozen=True)
class Implicit(Gradient):
  """The exact derivative by the implicit function theorem.

  With J = df/dz at the state z and a cotangent g, the backward pass solves
  y = J^T y + g per sample and returns (df/dparams)^T y and (df/dx)^T y. Its
  memory does not depend on the number of steps of the forward or the backward
  solve. The derivative can itself be differentiated in reverse mode. Samples
  must not interact in f. A sample whose backward solve never has a finite
  residual contributes zero to the gradient.

  Attributes:
    solver: solver of the backward system. Its tolerance should be relative,
      because the scale of g is that of the loss divided by the batch size.
  """

  solver: Solver = ADJOINT_SOLVER

  def for_taps(self):
    """Returns `JacobianFree`, because earlier states are not fixed points."""
    return JacobianFree()

  def attach(self, f, params, x, z, probe=None):
    """Returns z with the derivative of a fixed point at z.

    The cotangent of `probe`, an array (B, 3), contains the statistics of the
    backward solve: residual, relative residual and steps per sample.
    """
    if probe is None:
      probe = jnp.zeros_like(jnp.stack([tree_math.norm(z)] * 3, axis=-1))
    return _attach(f, self, params, x, jax.lax.stop_gradient(z), probe)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attach(f, implicit, params, x, z, probe):
  return z


def _attach_forward(f, implicit, params, x, z, probe):
  # The residual is the output of the call and not its argument. Thus the state
  # keeps its derivative in the backward pass, and second derivatives are
  # correct.
  z = _attach(f, implicit, params, x, z, probe)
  return z, (params, x, z, probe)


def _attach_backward(f, implicit, kept, cotangent):
  params, x, z, probe = kept
  _, pullback = jax.vjp(f, params, x, z)
  report = None
  if implicit is not None:
    adjoint = solve_adjoint(pullback, cotangent, implicit)
    cotangent = adjoint.value
    columns = adjoint.residual, adjoint.relative_residual, adjoint.steps
    report = jnp.stack([a.astype(probe.dtype) for a in columns], axis=-1)
  d_params, d_x, _ = pullback(cotangent)
  return d_params, d_x, jax.tree.map(jnp.zeros_like, z), report


_attach.defvjp(_attach_forward, _attach_backward)


def _adjoint_map(pullback: Any, cotangent: PyTree, y: PyTree) -> PyTree:
  """Returns J^T y + g, whose fixed point solves the backward system."""
  return tree_math.add(pullback(y)[2], cotangent)


def solve_adjoint(
  pullback: Any, cotangent: PyTree, implicit: Implicit
) -> Solution:
  """Solves y = J^T y + g from 0.

  Args:
    pullback: the second result of `jax.vjp(f, params, x, z)`.
    cotangent: the cotangent g, like z.
    implicit: provides the solver, and differentiates the result.
  """
  iteration = Iteration(_adjoint_map, pullback, cotangent, implicit.solver)
  return implicit.solve(
    iteration, jax.tree.map(jnp.zeros_like, cotangent), None
  )
