"""Solvers against torchdeq's: every evaluation, every residual, the result.

torchdeq stops a batch when its worst sample has converged, and its
`max_steps` does not count Broyden's first evaluation. Where it stops early,
its step count is read off its trace and taken as the limit here; that single
samples may stop sooner is tested beside it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  JacobianFree,
  Simple,
  fixed_point,
)

TOLERANCE = dict(rtol=1e-9, atol=1e-9)

EXACT = {
  "fp": Simple(12, 0.0),
  "fp_tau": Simple(12, 0.0, damping=0.6),
  "fp_expansive": Simple(12, 0.0),
  "fp_expansive_final": Simple(12, None),
  "simple": Simple(12, None, damping=0.8),
  "anderson": Anderson(12, 0.0, window=6, ridge=1e-4, absolute=True),
  "anderson_m2": Anderson(12, 0.0, window=2, ridge=1e-4, absolute=True),
  "anderson_m4_tau": Anderson(
    12, 0.0, window=4, mixing=0.7, ridge=1e-4, absolute=True
  ),
  "anderson_lam": Anderson(12, 0.0, window=3, ridge=1e-2, absolute=True),
  "anderson_expansive": Anderson(12, 0.0, window=6, ridge=1e-4, absolute=True),
  "anderson_expansive_final": Anderson(
    12, None, window=6, ridge=1e-4, absolute=True
  ),
  "broyden": Broyden(13, 0.0),
  "broyden_thres3": Broyden(13, 0.0, memory=3, restart=False),
  "broyden_expansive": Broyden(13, 0.0),
  "broyden_ls_A": Broyden(13, 0.0, line_search=True),
}


@pytest.fixture(scope="module", autouse=True)
def float64():
  # Not the context manager: callbacks run in other threads.
  jax.config.update("jax_enable_x64", True)
  # Small programs, run once: their compilation is all that takes time.
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)
  jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def case(golden):
  return golden("get/deq_solvers")


def tanh_map(params, x, z):
  return jnp.tanh(z @ params["W"].T + x @ params["U"].T + params["b"])


def solve(case, name, solver, record=None, **keywords):
  problem = case.under(f"in/{case.meta['configs'][name]['problem']}")

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


@pytest.mark.parametrize("name", EXACT)
def test_every_evaluation_and_the_result(case, name):
  solver, out = EXACT[name], case.under(f"out/{name}")
  record = []
  solution = solve(case, name, solver, record)
  assert len(record) == out.get("n_evals", solver.max_steps)
  if "eval_points" in out:
    points, values = zip(*record, strict=True)
    np.testing.assert_allclose(points, out["eval_points"], **TOLERANCE)
    np.testing.assert_allclose(values, out["eval_values"], **TOLERANCE)
  # torchdeq does not look at Anderson's first two evaluations nor at
  # Broyden's first.
  unseen = {Anderson: 2, Broyden: 1, Simple: 0}[type(solver)]
  damping = getattr(solver, "damping", 1)
  theirs = out["abs_trace"][:, 1:].T
  if theirs.size:
    np.testing.assert_allclose(
      damping * solution.trace[unseen:], theirs, **TOLERANCE
    )
    if damping == 1:
      np.testing.assert_allclose(
        solution.relative_trace[unseen:],
        out["rel_trace"][:, 1:].T,
        **TOLERANCE,
      )
  np.testing.assert_allclose(solution.value, out["result"], **TOLERANCE)


STOPPING = {
  "fp_abs_stop": Simple(80, 1e-4),
  "fp_rel_stop": Simple(80, 1e-3, relative=True),
  "anderson_abs_stop": Anderson(40, 1e-4, window=6, ridge=1e-4, absolute=True),
  "anderson_rel_stop": Anderson(
    40, 1e-4, relative=True, window=6, ridge=1e-4, absolute=True
  ),
  "broyden_abs_stop": Broyden(41, 1e-4),
  "broyden_rel_stop": Broyden(41, 1e-4, relative=True),
}


@pytest.mark.parametrize("name", STOPPING)
def test_samples_stop_by_themselves(case, name):
  """The slowest sample ends as torchdeq's; the others end before it."""
  solver, out = STOPPING[name], case.under(f"out/{name}")
  solution = solve(case, name, solver)
  assert solution.converged.all()
  steps = np.asarray(solution.steps)
  assert steps.max() == out["n_evals"]
  slowest = steps == steps.max()
  np.testing.assert_allclose(
    solution.value[slowest], out["result"][slowest], **TOLERANCE
  )
  kind = "rel" if solver.relative else "abs"
  ours = solution.relative_trace if solver.relative else solution.trace
  theirs = out[f"{kind}_trace"]
  unseen = {Anderson: 2, Broyden: 1, Simple: 0}[type(solver)]
  for sample, count in enumerate(steps):
    np.testing.assert_allclose(
      ours[unseen:count, sample],
      theirs[sample, 1 : 1 + count - unseen],
      **TOLERANCE,
    )
    assert (ours[: count - 1, sample] >= solver.tolerance).all()
    assert ours[count - 1, sample] < solver.tolerance
    assert np.isnan(ours[count:, sample]).all()


def test_two_steps_of_anderson_are_two_steps(case):
  """torchdeq returns z0 after two evaluations; here it is the better image."""
  solution = solve(case, "anderson_two", Anderson(2, 0.0))
  out = case.under("out/anderson_two")
  better = np.argmin(solution.trace, axis=0)
  np.testing.assert_allclose(
    solution.value,
    out["eval_values"][better, np.arange(len(better))],
    **TOLERANCE,
  )
  np.testing.assert_array_equal(solution.steps, 2)


def test_line_search_is_each_samples_own(case):
  """torchdeq takes one step length for the whole batch.

  After as many evaluations every sample is closer than there, and a sample
  alone takes the same way as among others.
  """
  out, problem = case.under("out/broyden_ls"), case.under("in/B")
  solver = Broyden(int(out["n_evals"]), 0.0, line_search=True)
  call = jax.jit(
    lambda x, z0: fixed_point(
      tanh_map, problem, x, z0, solver=solver, trace=True
    )
  )
  together = jax.device_get(call(problem["x"], problem["z0"]))
  assert (together.residual < 0.5 * out["abs_lowest"]).all()
  alone = jax.device_get(
    call(case.arrays["in/B/x"][1:2], case.arrays["in/B/z0"][1:2])
  )
  np.testing.assert_allclose(
    alone.trace[:20, 0], together.trace[:20, 1], rtol=1e-6
  )


def test_taps_are_what_the_solver_would_have_returned(case):
  """torchdeq leaves out the final state, and Broyden's first tap."""
  for name, solver, numbers in [
    ("fp", Simple(12, 0.0), [0, 1, 2, 3]),
    ("simple", Simple(12, None, damping=0.8), [0, 1, 2, 3]),
    ("anderson", EXACT["anderson"], [1, 2, 3]),
  ]:
    solution = solve(
      case, name, solver, gradient=JacobianFree(), taps=(1, 4, 8, 12)
    )
    np.testing.assert_allclose(
      solution.taps[numbers],
      case.arrays[f"out/{name}/indexed"],
      **TOLERANCE,
    )
    np.testing.assert_array_equal(solution.taps[-1], solution.value)
  # Its state after one step is z0 and after k + 1 evaluations our tap k + 1.
  solution = solve(
    case, "broyden", Broyden(13, 0.0), gradient=JacobianFree(), taps=(4, 8, 12)
  )
  np.testing.assert_allclose(
    solution.taps[:3], case.arrays["out/broyden/indexed"], **TOLERANCE
  )


def test_evaluations_to_a_residual_of_1e_6(case):
  counts = [
    int(solve(case, "fp", solver).steps.max())
    for solver in (Simple(60, 1e-6), Anderson(60, 1e-6), Broyden(60, 1e-6))
  ]
  plain, anderson, broyden = counts
  assert plain == 14
  assert anderson <= plain
  assert broyden <= plain
