"""Solvers against torchdeq's: every evaluation, every residual, the result.

torchdeq stops a batch when its worst sample has converged, and its
`max_steps` does not count Broyden's first evaluation. Where it stops early,
its step count is read off its trace and taken as the limit here; that single
samples may stop sooner is tested beside it.
"""

import functools

import jax
import numpy as np
import pytest
from cases import cases, each
from equilibrium_cases import UNSEEN, float64, make_solver, tanh_map
from tolerances import tolerance

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  JacobianFree,
  Simple,
  fixed_point,
)

double = pytest.fixture(scope="module", autouse=True)(float64)
PATTERN = "get/deq_solvers*.npz"


def names(*kinds):
  """Returns a function that selects the configurations of some kinds."""
  return lambda case: [
    name for name in case.meta["configs"] if kind_of(case, name) in kinds
  ]


def kind_of(case, name):
  """Classifies a configuration by what torchdeq does with it."""
  config = case.meta["configs"][name]
  options, steps = config["options"], config["options"]["max_iter"]
  if "stop_mode" in options:
    return "stopping"
  if config["solver"] == "anderson" and steps <= 2:
    return "two steps"
  evaluations = case.arrays[f"out/{name}/n_evals"]
  if options.get("ls") and evaluations > steps + 1:
    return "line search"
  return "exact"


def solver_of(case, name):
  config = case.meta["configs"][name]
  options = config["options"]
  return make_solver(
    config["solver"], options["max_iter"], options.get("tol"), options
  )


def problem_of(case, name):
  return case.under(f"in/{case.meta['configs'][name]['problem']}")


def close(case, got, expected):
  limit = tolerance(case, "get/deq")
  np.testing.assert_allclose(got, expected, rtol=limit, atol=limit)


def solve(problem, solver, record=None, **keywords):
  def f(params, x, z):
    image = tanh_map(params, x, z)
    if record is not None:
      jax.debug.callback(
        lambda *pair: record.append(pair), z, image, ordered=True
      )
    return image

  solution = jax.jit(
    lambda p: fixed_point(
      f, p, p["x"], p["z0"], solver=solver, trace=True, **keywords
    )
  )(problem)
  jax.effects_barrier()
  return jax.device_get(solution)


@each(PATTERN, names("exact"))
def test_every_evaluation_and_the_result(case, name):
  solver, out = solver_of(case, name), case.under(f"out/{name}")
  check = functools.partial(close, case)
  record = []
  solution = solve(problem_of(case, name), solver, record)
  assert len(record) == out.get("n_evals", solver.max_steps)
  if "eval_points" in out:
    points, values = zip(*record, strict=True)
    check(points, out["eval_points"])
    check(values, out["eval_values"])
  # torchdeq does not look at Anderson's first two evaluations nor at
  # Broyden's first.
  unseen = UNSEEN[type(solver)]
  damping = getattr(solver, "damping", 1)
  theirs = out["abs_trace"][:, 1:].T
  if theirs.size:
    check(damping * solution.trace[unseen:], theirs)
    if damping == 1:
      check(solution.relative_trace[unseen:], out["rel_trace"][:, 1:].T)
  check(solution.value, out["result"])


@each(PATTERN, names("stopping"))
def test_samples_stop_by_themselves(case, name):
  """The slowest sample ends as torchdeq's; the others end before it."""
  solver, out = solver_of(case, name), case.under(f"out/{name}")
  solution = solve(problem_of(case, name), solver)
  assert solution.converged.all()
  steps = np.asarray(solution.steps)
  assert steps.max() == out["n_evals"]
  slowest = steps == steps.max()
  close(case, solution.value[slowest], out["result"][slowest])
  kind = "rel" if solver.relative else "abs"
  ours = solution.relative_trace if solver.relative else solution.trace
  theirs = out[f"{kind}_trace"]
  unseen = UNSEEN[type(solver)]
  for sample, count in enumerate(steps):
    close(
      case,
      ours[unseen:count, sample],
      theirs[sample, 1 : 1 + count - unseen],
    )
    assert (ours[: count - 1, sample] >= solver.tolerance).all()
    assert ours[count - 1, sample] < solver.tolerance
    assert np.isnan(ours[count:, sample]).all()


@each(PATTERN, names("two steps"))
def test_two_steps_of_anderson_are_two_steps(case, name):
  """torchdeq returns z0 after two evaluations; here it is the better image."""
  solution = solve(problem_of(case, name), Anderson(2, 0.0))
  out = case.under(f"out/{name}")
  better = np.argmin(solution.trace, axis=0)
  close(
    case,
    solution.value,
    out["eval_values"][better, np.arange(len(better))],
  )
  np.testing.assert_array_equal(solution.steps, 2)


@each(PATTERN, names("line search"))
def test_line_search_is_each_samples_own(case, name):
  """torchdeq takes one step length for the whole batch.

  After as many evaluations every sample is closer than there, and the results
  of a sample do not depend on the others.
  """
  out, problem = case.under(f"out/{name}"), problem_of(case, name)
  solver = Broyden(int(out["n_evals"]), 0.0, line_search=True)
  call = jax.jit(
    lambda x, z0: fixed_point(
      tanh_map, problem, x, z0, solver=solver, trace=True
    )
  )
  together = jax.device_get(call(problem["x"], problem["z0"]))
  assert (together.residual < 0.5 * out["abs_lowest"]).all()
  alone = jax.device_get(call(problem["x"][1:2], problem["z0"][1:2]))
  np.testing.assert_allclose(
    alone.trace[:20, 0], together.trace[:20, 1], rtol=1e-6
  )


@each(
  PATTERN,
  lambda case: [
    name for name in case.meta["configs"] if f"out/{name}/indexed" in case.names
  ],
)
def test_taps_are_what_the_solver_would_have_returned(case, name):
  """torchdeq leaves out Anderson's first taps, and Broyden's."""
  solver, expected = solver_of(case, name), case.arrays[f"out/{name}/indexed"]
  indices = case.meta["configs"][name]["options"]["indexing"]
  assert len(expected) >= len(indices) - 1
  # Broyden's state after one step is z0, and after k + 1 evaluations it is our
  # tap k + 1.
  indices = indices[-len(expected) :]
  solution = solve(
    problem_of(case, name),
    solver,
    gradient=JacobianFree(),
    taps=tuple(indices),
  )
  close(case, solution.taps[: len(indices)], expected)
  np.testing.assert_array_equal(solution.taps[-1], solution.value)


def residuals_of(problem, steps):
  """The largest residual of a batch in plain iteration, in NumPy."""
  z, largest = problem["z0"], []
  for _ in range(steps):
    shift = problem["x"] @ problem["U"].T + problem["b"]
    image = np.tanh(z @ problem["W"].T + shift)
    largest.append(np.linalg.norm(image - z, axis=1).max())
    z = image
  return np.array(largest)


@cases(PATTERN)
def test_evaluations_to_a_residual_of_1e_6(case):
  problems = {c["problem"] for c in case.meta["configs"].values()}
  contracting = []
  for name in sorted(problems):
    problem = case.under(f"in/{name}")
    reached = residuals_of(problem, 60) < 1e-6
    if not reached.any():
      continue
    contracting.append(name)
    plain, anderson, broyden = (
      int(solve(problem, solver).steps.max())
      for solver in (Simple(60, 1e-6), Anderson(60, 1e-6), Broyden(60, 1e-6))
    )
    assert plain == 1 + np.argmax(reached)
    assert anderson <= plain
    assert broyden <= plain
  assert contracting
