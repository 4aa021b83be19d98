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

from get_jax.equilibrium import Anderson, Broyden, Simple, fixed_point

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
  "anderson_expansive": Anderson(
    12, 0.0, window=6, ridge=1e-4, absolute=True
  ),
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
  yield
  jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def case(golden):
  return golden("get/deq_solvers")


def tanh_map(params, x, z):
  return jnp.tanh(z @ params["W"].T + x @ params["U"].T + params["b"])


def solve(case, name, solver, record=None, **keywords):
  problem = case.under(f"in/{case.meta['configs'][name]['problem']}")
  problem = {key: jnp.asarray(value) for key, value in problem.items()}

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
  return solution


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
