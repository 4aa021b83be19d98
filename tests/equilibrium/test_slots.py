"""Solves in slots: each sample as in a whole batch, with fewer evaluations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Simple,
  fixed_point,
  solve_in_slots,
)

COUNT, WIDTH = 13, 8


@pytest.fixture(scope="module")
def problem():
  keys = jax.random.split(jax.random.key(0), 3)
  params = jax.random.orthogonal(keys[0], WIDTH)
  # Samples converge at rates of their own.
  scale = jnp.linspace(0.1, 0.95, COUNT)[jax.random.permutation(keys[1], COUNT)]
  bias = jax.random.normal(keys[2], (COUNT, WIDTH))
  x = {"scale": scale[:, None], "bias": bias}
  return params, x, jnp.zeros((COUNT, WIDTH))


def plain(params, x, z):
  return jnp.tanh(x["scale"] * (z @ params)) + x["bias"]


@pytest.mark.parametrize("slots", [4, 40])
@pytest.mark.parametrize(
  "solver",
  [
    Simple(60, tolerance=1e-4),
    Anderson(30, tolerance=1e-4),
    Broyden(30, tolerance=1e-4, relative=True),
    Simple(5),
  ],
  ids=["simple", "anderson", "broyden", "without tolerance"],
)
def test_solutions_are_those_of_the_batch(problem, solver, slots):
  # In float32, Anderson's linear systems amplify the rounding.
  with jax.enable_x64(True):
    problem = jax.tree.map(lambda a: a.astype(jnp.float64), problem)
    expected = fixed_point(plain, *problem, solver=solver)
    found = jax.jit(
      lambda *args: solve_in_slots(plain, *args, solver=solver, slots=slots)
    )(*problem)
  if solver.tolerance is not None:
    assert len(set(expected.steps.tolist())) > 2
  np.testing.assert_array_equal(found.steps, expected.steps)
  np.testing.assert_array_equal(found.converged, expected.converged)
  np.testing.assert_allclose(found.value, expected.value, atol=1e-9)
  np.testing.assert_allclose(found.residual, expected.residual, atol=1e-9)


def test_a_sample_has_the_same_bits_beside_others(problem):
  params, x, z0 = problem
  solver = Simple(60, tolerance=1e-4)
  solve = jax.jit(
    lambda x, z0: solve_in_slots(plain, params, x, z0, solver=solver, slots=4)
  )
  values = solve(x, z0).value
  order = np.random.default_rng(0).permutation(COUNT)
  shuffled = solve(jax.tree.map(lambda a: a[order], x), z0[order]).value
  np.testing.assert_array_equal(shuffled, values[order])


def test_slots_are_full_until_the_end(problem):
  params, x, z0 = problem
  slots = 4
  evaluations = []

  def counted(params, x, z):
    jax.debug.callback(lambda _: evaluations.append(1), z[0, 0])
    return plain(params, x, z)

  solver = Simple(60, tolerance=1e-4)
  steps = solve_in_slots(
    counted, params, x, z0, solver=solver, slots=slots
  ).steps
  jax.effects_barrier()
  # One callback for each sample of a step: a list schedule of the samples.
  ends = np.zeros(slots, int)
  for duration in steps.tolist():
    ends[ends.argmin()] += duration
  assert len(evaluations) == slots * ends.max()
  assert len(evaluations) < COUNT * int(steps.max())


def test_a_sample_that_diverges_leaves_the_others(problem):
  params, x, z0 = problem
  solver = Simple(60, tolerance=1e-4)
  bad = {**x, "bias": x["bias"].at[2].set(jnp.nan)}
  good = solve_in_slots(plain, *problem, solver=solver, slots=4)
  found = solve_in_slots(plain, params, bad, z0, solver=solver, slots=4)
  others = np.arange(COUNT) != 2
  assert not found.converged[2]
  np.testing.assert_array_equal(found.value[2], z0[2])
  np.testing.assert_array_equal(found.value[others], good.value[others])


def test_no_slots_are_refused(problem):
  with pytest.raises(
    ValueError, match="slots is 0; there must be at least one"
  ):
    solve_in_slots(plain, *problem, slots=0)
