"""Derivatives of a fixed point, chosen independently of the solver.

A gradient is a frozen dataclass. `Unrolled` differentiates through the
solver's own steps. The others solve without a derivative and then attach one
to the state that was found; `attach` does that for any state.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from get_jax.equilibrium import batch
from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.loop import Loop
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Simple, Solver
from get_jax.equilibrium.typing import Array, Map, PyTree


@dataclasses.dataclass(frozen=True)
class Gradient:
  """Solves without a derivative, then attaches one to value and taps."""

  def solve(self, loop: Loop, z0: PyTree, probe: Array | None) -> Solution:
    """Runs the loop from z0."""
    constant = loop.constant()
    start = constant.start(jax.lax.stop_gradient(z0))
    state, kept, trace = constant.run(start, loop.solver.max_steps)
    solution = constant.solution(state, kept, trace)
    return self.differentiable(loop, solution, probe)

  def differentiable(
    self, loop: Loop, solution: Solution, probe: Array | None
  ) -> Solution:
    """The same solution with derivatives."""
    value = self.attach(
      loop.f, loop.params, loop.x, solution.value, probe=probe
    )
    taps = solution.taps
    if taps is not None:
      attach = self.tapped().attach
      earlier = jax.vmap(
        functools.partial(attach, loop.f, loop.params, loop.x)
      )(jax.tree.map(lambda a: a[:-1], taps))
      taps = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b[None]]), earlier, value
      )
    return dataclasses.replace(solution, value=value, taps=taps)

  def tapped(self) -> "Gradient":
    """The gradient that intermediate states get."""
    return self

  def attach(
    self,
    f: Map,
    params: PyTree,
    x: PyTree,
    z: PyTree,
    probe: Array | None = None,
  ) -> PyTree:
    """Gives the state z a derivative with respect to params and x."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Unrolled(Gradient):
  """Back-propagation through the solver's steps, all or the last ones.

  Attributes:
    steps: how many of the last steps are differentiated; None means all. The
      steps before them stop at the tolerance. These do not, since a finished
      sample needs them for its derivative, and they are plain ones: a solver
      that accelerates has nothing to go by at a fixed point.
    policy: None keeps every intermediate array for the backward pass. A name
      in `jax.checkpoint_policies`, or a policy itself, recomputes what it does
      not keep: "nothing_saveable" leaves one state a step.
    unroll: iterations in a row in the compiled loop, as in `lax.scan`.
  """

  steps: int | None = None
  policy: str | Callable | None = None
  unroll: int = 1

  def __post_init__(self):
    if self.steps is not None and self.steps < 1:
      raise ValueError(
        f"Unrolled.steps is {self.steps}; it must be None or at least 1."
      )
    check_policy(self)

  def solve(self, loop, z0, probe):
    """Runs the loop, the differentiated steps as a scan."""
    count = loop.solver.max_steps
    if self.steps is None or self.steps >= count:
      state, kept, trace = loop.unroll(
        loop.start(z0), 0, count, self.wrap, self.unroll
      )
      return loop.solution(state, kept, trace)
    start = count - self.steps
    before, early, early_trace = loop.constant().run(
      loop.constant().start(jax.lax.stop_gradient(z0)), start
    )
    # All samples go on from their best state, and the last one is returned:
    # those before have no derivative.
    tail = loop.plain()
    state, kept, trace = tail.unroll(
      tail.start(before.value), start, count, self.wrap, self.unroll
    )
    state = state._replace(steps=state.steps + before.steps)
    kept, trace = jax.tree.map(
      lambda a, b: jnp.concatenate([a, b]), (early, early_trace), (kept, trace)
    )
    return loop.solution(state, kept, trace)

  def wrap(self, function: Callable) -> Callable:
    """Applies the checkpoint policy."""
    if self.policy is None:
      return function
    policy = self.policy
    if isinstance(policy, str):
      policy = getattr(jax.checkpoint_policies, policy)
    return jax.checkpoint(function, policy=policy, prevent_cse=False)


def check_policy(gradient: "Unrolled | Phantom") -> None:
  """Raises ValueError for a name that is no checkpoint policy."""
  policy = gradient.policy
  if isinstance(policy, str) and not hasattr(jax.checkpoint_policies, policy):
    raise ValueError(
      f"{type(gradient).__name__}.policy is {policy!r}; "
      "jax.checkpoint_policies has no such name."
    )


@dataclasses.dataclass(frozen=True)
class Phantom(Gradient):
  """Damped steps after the solver, differentiated; the state they start from
  is a constant (Geng et al., On Training Implicit Models, 2021).

  Attributes:
    steps: applications of f after the solver, >= 1.
    tau: z <- tau f(z) + (1 - tau) z, in (0, 1].
    policy: as in `Unrolled`.
  """

  steps: int = 1
  tau: float = 1.0
  policy: str | Callable | None = None

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f"Phantom.steps is {self.steps}; it must be at least 1.")
    if not 0 < self.tau <= 1:
      raise ValueError(f"Phantom.tau is {self.tau}; it must lie in (0, 1].")
    check_policy(self)

  def attach(self, f, params, x, z, probe=None):
    """The state after the damped steps."""
    loop = Loop(f, params, x, Simple(self.steps, damping=self.tau))
    unrolled = Unrolled(policy=self.policy)
    return unrolled.solve(loop, jax.lax.stop_gradient(z), None).value


@dataclasses.dataclass(frozen=True)
class JacobianFree(Gradient):
  """The derivative of one application of f at the state that was found.

  It leaves out how the state itself depends on the parameters: y = g instead
  of the backward system of `Implicit` (Fung et al., JFB: Jacobian-Free
  Backpropagation, 2022).
  """

  def attach(self, f, params, x, z, probe=None):
    """z itself; what it is differentiated as is f(params, x, z)."""
    return _attach(f, None, params, x, jax.lax.stop_gradient(z), None)


# Relative: the scale of a cotangent is that of the loss over the batch size.
ADJOINT = Anderson(max_steps=40, tolerance=1e-6, relative=True)


@dataclasses.dataclass(frozen=True)
class Implicit(Gradient):
  """The exact derivative by the implicit function theorem.

  With J = df/dz at the state z and a cotangent g the backward pass solves
  y = J^T y + g per sample and returns (df/dparams)^T y and (df/dx)^T y. Its
  memory does not depend on the number of steps of either solve. The
  derivative can itself be differentiated in reverse mode. Samples must not
  interact in f. A sample whose backward solve gives no finite residual at all
  adds nothing to the gradient.

  Attributes:
    solver: solves the backward system. Its tolerance should be relative: the
      scale of g is that of the loss divided by the batch size.
  """

  solver: Solver = ADJOINT

  def tapped(self):
    """Intermediate states are no fixed points; they do without a solve."""
    return JacobianFree()

  def attach(self, f, params, x, z, probe=None):
    """z itself; the derivative is that of a fixed point at z.

    The cotangent of `probe`, an array (B, 3), is the report on the backward
    solve: residual, relative residual and steps per sample.
    """
    if probe is None:
      probe = jnp.zeros_like(jnp.stack([batch.norm(z)] * 3, axis=-1))
    return _attach(f, self, params, x, jax.lax.stop_gradient(z), probe)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attach(f, implicit, params, x, z, probe):
  return z


def _attach_forward(f, implicit, params, x, z, probe):
  # The output of the call, and not its argument, is what is kept: so the
  # state carries its derivative into the backward pass, and a derivative of
  # the derivative is right.
  z = _attach(f, implicit, params, x, z, probe)
  return z, (params, x, z, probe)


def _attach_backward(f, implicit, kept, cotangent):
  params, x, z, probe = kept
  _, pullback = jax.vjp(f, params, x, z)
  report = None
  if implicit is not None:
    adjoint = solve_adjoint(pullback, cotangent, implicit)
    cotangent = adjoint.value
    report = jnp.stack(
      [adjoint.residual, adjoint.relative_residual, adjoint.steps], axis=-1
    ).astype(probe.dtype)
  d_params, d_x, _ = pullback(cotangent)
  return d_params, d_x, jax.tree.map(jnp.zeros_like, z), report


_attach.defvjp(_attach_forward, _attach_backward)


def _adjoint_map(pullback: Any, cotangent: PyTree, y: PyTree) -> PyTree:
  """y -> J^T y + g, of which the backward system is the fixed point."""
  return batch.add(pullback(y)[2], cotangent)


def solve_adjoint(
  pullback: Any, cotangent: PyTree, implicit: Implicit
) -> Solution:
  """Solves y = J^T y + g from 0.

  Args:
    pullback: the second result of `jax.vjp(f, params, x, z)`.
    cotangent: g, like z.
    implicit: whose solver is used, and which differentiates the result.
  """
  loop = Loop(_adjoint_map, pullback, cotangent, implicit.solver)
  return implicit.solve(loop, jax.tree.map(jnp.zeros_like, cotangent), None)
