"""`fixed_point`: values, taps, statistics, independent samples, bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Implicit,
  JacobianFree,
  Phantom,
  Simple,
  Unrolled,
  fixed_point,
)

SOLVERS = [
  Simple(40, 1e-5),
  Anderson(40, 1e-5),
  Broyden(40, 1e-5, memory=8, line_search=True),
]


@pytest.fixture(scope="module", autouse=True)
def fast_compilation():
  # The programs are small and run once, so compilation dominates the time.
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


def solve(f, *arguments, **options):
  """`fixed_point` as one program, its result as numpy arrays."""
  program = jax.jit(lambda *arrays: fixed_point(f, *arrays, **options))
  return jax.device_get(program(*arguments))


def tanh_map(params, x, z):
  return jnp.tanh(z @ params + x)


@pytest.fixture(scope="module")
def problem():
  keys = jax.random.split(jax.random.key(0), 3)
  params = 0.2 * jax.random.normal(keys[0], (6, 6))
  x = jax.random.normal(keys[1], (4, 6))
  return params, x, jax.random.normal(keys[2], (4, 6))


def test_fixed_count_returns_every_iterate(problem):
  params, x, z0 = problem
  calls = []

  def counted(params, x, z):
    jax.debug.callback(lambda: calls.append(1))
    return tanh_map(params, x, z)

  solution = jax.jit(
    lambda: fixed_point(
      counted,
      params,
      x,
      z0,
      solver=Simple(max_steps=6),
      gradient=Unrolled(),
      taps=range(1, 7),
    )
  )()
  jax.effects_barrier()
  z, iterates = z0, []
  for _ in range(6):
    z = tanh_map(params, x, z)
    iterates.append(z)
  assert len(calls) == 6
  np.testing.assert_allclose(solution.taps, jnp.stack(iterates), rtol=1e-5)
  np.testing.assert_array_equal(solution.value, solution.taps[-1])
  np.testing.assert_array_equal(solution.steps, 6)
  assert not solution.converged.any()


@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_are_independent(problem, solver):
  """One sample becomes NaN and one is harder; the others are not affected."""
  params, x, z0 = problem

  def f(params, x, z):
    shift, hardness = x
    image = hardness * tanh_map(params, shift, z)
    return jnp.where(shift > 90, jnp.nan, image)

  program = jax.jit(
    lambda x, z0: fixed_point(
      f, params, x, z0, solver=solver, gradient=JacobianFree()
    )
  )

  def call(x, z0):
    return jax.device_get(program(x, z0))

  hardness = jnp.ones((4, 1)).at[1].set(1.5)
  alone = call((x, hardness), z0)
  with_nan = call((x.at[2, 0].set(99.0), hardness), z0)
  others = np.array([0, 1, 3])
  assert alone.converged.all()
  np.testing.assert_array_equal(with_nan.converged, [True, True, False, True])
  for name in ("value", "residual", "steps"):
    np.testing.assert_array_equal(
      getattr(with_nan, name)[others],
      getattr(alone, name)[others],
      err_msg=name,
    )
  # The NaN sample returns its initial state and is not converged.
  np.testing.assert_array_equal(with_nan.value[2], z0[2])
  assert with_nan.steps[2] == 1
  assert with_nan.residual[2] == np.inf
  # The harder sample takes longer; a finished one does not change.
  assert alone.steps[1] > alone.steps[0]
  assert (alone.residual < solver.tolerance).all()
  order = np.array([3, 1, 0, 2])
  moved = call((x[order], hardness[order]), z0[order])
  np.testing.assert_allclose(moved.value, alone.value[order], atol=1e-6)
  np.testing.assert_array_equal(moved.steps, alone.steps[order])


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_convergence_the_best_iterate_is_returned(solver):
  """An expanding rotation: no solver reaches the tolerance in 4 steps."""
  solver = dataclasses.replace(solver, max_steps=4, tolerance=1e-12)
  angle = jnp.array([[0.0, 1.5], [-1.5, 0.0]])

  def f(params, x, z):
    return jnp.sin(z @ angle) + 1 + 0.3 * z**2

  solution = solve(f, (), (), jnp.full((2, 2), 0.5), solver=solver, trace=True)
  assert not solution.converged.any()
  np.testing.assert_allclose(solution.residual, solution.trace.min(axis=0))
  assert np.isfinite(solution.value).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_singular_systems(solver):
  """A constant map, the identity, and a map without a fixed point."""

  def f(params, x, z):
    return jnp.stack([jnp.ones_like(z[0]), z[1], z[2] + 1])

  z0 = jnp.arange(6.0).reshape(3, 2)
  solution = solve(f, (), (), z0, solver=solver)
  np.testing.assert_array_equal(solution.converged, [True, True, False])
  np.testing.assert_array_equal(solution.value[0], [1, 1])
  np.testing.assert_array_equal(solution.value[1], z0[1])
  assert np.isfinite(solution.value).all()
  np.testing.assert_allclose(solution.residual[2], np.sqrt(2), rtol=1e-6)


def test_the_final_state_is_always_among_the_taps(problem):
  """Also if all samples have converged before a tap."""
  params, x, z0 = problem
  solver = Simple(60, 1e-4)
  solution = solve(tanh_map, params, x, z0, solver=solver, taps=(2, 50))
  assert solution.steps.max() < 50
  assert solution.taps.shape == (3, 4, 6)
  np.testing.assert_array_equal(solution.taps[1], solution.value)
  np.testing.assert_array_equal(solution.taps[2], solution.value)
  short = solve(
    tanh_map, params, x, z0, solver=Simple(2, 0.0), gradient=JacobianFree()
  )
  np.testing.assert_array_equal(solution.taps[0], short.value)


def test_relative_tolerance_does_not_depend_on_scale(problem):
  params, x, z0 = problem
  solver = Anderson(40, 1e-4, relative=True)

  def scaled(scale):
    def f(params, x, z):
      return scale * tanh_map(params, x, z / scale)

    return solve(f, params, x, scale * z0, solver=solver)

  one, large = scaled(1.0), scaled(2.0**20)
  np.testing.assert_array_equal(one.steps, large.steps)
  np.testing.assert_allclose(2.0**20 * one.value, large.value, rtol=1e-6)


def test_warm_start_saves_evaluations(problem):
  params, x, z0 = problem
  solver = Anderson(40, 1e-5)
  cold = solve(tanh_map, params, x, z0, solver=solver)
  warm = solve(tanh_map, params, x + 1e-3, cold.value, solver=solver)
  assert warm.converged.all()
  assert warm.steps.max() < cold.steps.min()


def test_bfloat16_iterates_have_float32_residuals(problem):
  params, x, z0 = problem
  params, x, z0 = jax.tree.map(lambda a: a.astype(jnp.bfloat16), problem)
  wide = jax.tree.map(lambda a: a.astype(jnp.float32), (params, x, z0))
  exact = solve(tanh_map, *wide, solver=SOLVERS[0])
  for solver in SOLVERS[1:]:
    solver = dataclasses.replace(solver, tolerance=2e-2)
    solution = solve(tanh_map, params, x, z0, solver=solver)
    assert solution.value.dtype == jnp.bfloat16
    assert solution.residual.dtype == jnp.float32
    assert solution.converged.all()
    np.testing.assert_allclose(
      solution.value.astype(np.float32), exact.value, atol=3e-2
    )


@pytest.mark.parametrize(
  ("make", "sentence"),
  [
    (lambda: Simple(0), "Simple.max_steps is 0"),
    (lambda: Simple(5, -1.0), "Simple.tolerance is -1.0"),
    (lambda: Simple(5, damping=0.0), "Simple.damping is 0.0"),
    (lambda: Anderson(4, window=0), "Anderson.window is 0"),
    (lambda: Anderson(4, mixing=1.5), "Anderson.mixing is 1.5"),
    (lambda: Anderson(4, ridge=-1.0), "Anderson.ridge is -1.0"),
    (lambda: Broyden(4, memory=0), "Broyden.memory is 0"),
    (lambda: Phantom(0), "Phantom.steps is 0"),
    (lambda: Phantom(1, 2.0), "Phantom.tau is 2.0"),
    (lambda: Unrolled(0), "Unrolled.steps is 0"),
    (lambda: Unrolled(policy="everything"), "policy is 'everything'"),
  ],
)
def test_bad_settings_are_one_sentence(make, sentence):
  with pytest.raises(ValueError, match=sentence) as caught:
    make()
  check_sentence(caught)


@pytest.mark.parametrize(
  ("changed", "sentence"),
  [
    (dict(f=lambda p, x, z: z[:, :3]), r"f returned float32\[4, 3\] for z"),
    (dict(f=lambda p, x, z: z.astype(jnp.bfloat16)), "f returned bfloat16"),
    (dict(f=lambda p, x, z: (z, z)), "f returned the structure"),
    (dict(z0=jnp.full((4, 6), jnp.nan)), "z0 holds NaN or infinity"),
    (dict(z0=jnp.zeros((4, 6), int)), "z0 has dtype int32"),
    (dict(z0=jnp.zeros(())), "z0 is a scalar"),
    (dict(z0={}), "z0 has no arrays"),
    (dict(z0=(jnp.zeros((4, 6)), jnp.zeros((3, 6)))), r"sizes \[3, 4\]"),
    (dict(taps=(3, 7)), r"taps \(3, 7\) must lie between 1 and .* 6"),
    (dict(taps=(0,)), r"taps \(0,\) must lie between 1"),
    (dict(taps=(3, 2)), r"taps \(3, 2\) must ascend"),
    (dict(probe=jnp.zeros((4, 2))), r"probe has shape \(4, 2\)"),
    (
      dict(probe=jnp.zeros((4, 3)), gradient=Unrolled()),
      "A probe was given with Unrolled",
    ),
  ],
)
def test_bad_input_is_one_sentence(problem, changed, sentence, unchecked_types):
  params, x, z0 = problem
  arguments = dict(f=tanh_map, params=params, x=x, z0=z0) | changed
  with pytest.raises(ValueError, match=sentence) as caught:
    fixed_point(**arguments, solver=Simple(6))
  check_sentence(caught)


def check_sentence(caught):
  text = str(caught.value)
  assert text.endswith(".")
  assert "\n" not in text


def test_initial_state_with_nan_under_jit(problem):
  """There it cannot be rejected; the sample is returned unchanged."""
  params, x, z0 = problem
  z0 = z0.at[1].set(jnp.nan)
  solution = jax.jit(
    lambda z0: fixed_point(
      tanh_map, params, x, z0, solver=SOLVERS[0], gradient=Implicit()
    )
  )(z0)
  np.testing.assert_array_equal(solution.converged, [True, False, True, True])
  assert jnp.isnan(solution.value[1]).all()
