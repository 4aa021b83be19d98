"""Derivatives: exactness, composition with JAX's transformations, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Implicit,
  JacobianFree,
  Phantom,
  Simple,
  Unrolled,
  fixed_point,
  gaussian_like,
  jacobian_penalty,
)

TIGHT = Anderson(100, 1e-13, relative=True)
EXACT = Implicit(Anderson(100, 1e-14, relative=True))


@pytest.fixture(autouse=True)
def fast_compilation(request):
  # The programs are small and run once, so compilation dominates the time.
  fast = "memory" not in request.node.name
  jax.config.update("jax_disable_most_optimizations", fast)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


def tanh_map(params, x, z):
  return jnp.tanh(z @ params["W"] + x @ params["U"])


def problem(dtype=np.float64, size=8):
  rng = np.random.default_rng(0)
  W = rng.normal(size=(size, size))
  params = {
    "W": 0.9 * W / np.abs(np.linalg.eigvals(W)).max(),
    "U": rng.normal(size=(3, size)),
  }
  x, v = rng.normal(size=(4, 3)), rng.normal(size=(4, size))
  return jax.tree.map(lambda a: jnp.asarray(a, dtype), (params, x, v))


def loss(params, x, v, solver, gradient, probe=None):
  solution = fixed_point(
    tanh_map,
    params,
    x,
    jnp.zeros_like(v),
    solver=solver,
    gradient=gradient,
    probe=probe,
  )
  return jnp.sum(v * solution.value + solution.value**2)


def far(a, b):
  """The relative distance between two trees."""
  a, b = (
    np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
    for tree in jax.device_get((a, b))
  )
  return np.linalg.norm(a - b) / np.linalg.norm(b)


def gradient_of(params, x, v, solver, gradient, argnums=(0, 1)):
  def function(*arguments):
    return loss(*arguments, v, solver, gradient)

  return jax.jit(jax.grad(function, argnums))(params, x)


def test_implicit_against_a_dense_solve(float64):
  params, x, v = problem()

  @jax.jit
  def dense(params, x):
    z = jnp.zeros_like(v)
    z = jax.lax.fori_loop(0, 400, lambda _, z: tanh_map(params, x, z), z)

    def row(p, x, z):
      return tanh_map(p, x[None], z[None])[0]

    def sample(x, z, v):
      jacobian = jax.jacobian(row, 2)(params, x, z)
      y = jnp.linalg.solve(jnp.eye(len(z)) - jacobian.T, v + 2 * z)
      return jax.vjp(row, params, x, z)[1](y)[:2]

    d_params, d_x = jax.vmap(sample)(x, z, v)
    return jax.tree.map(lambda a: a.sum(axis=0), d_params), d_x

  assert far(gradient_of(params, x, v, TIGHT, EXACT), dense(params, x)) < 1e-8


def test_implicit_against_finite_differences(float64):
  params, x, v = problem()
  direction = gaussian_like(jax.random.key(1), params)
  value = jax.jit(lambda p: loss(p, x, v, TIGHT, EXACT))

  def moved(h):
    return value(jax.tree.map(lambda p, d: p + h * d, params, direction))

  h = 1e-4
  slope = (moved(h) - moved(-h)) / (2 * h)
  gradient = gradient_of(params, x, v, TIGHT, EXACT, 0)
  inner = sum(
    jnp.vdot(g, d)
    for g, d in zip(
      jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True
    )
  )
  np.testing.assert_allclose(inner, slope, rtol=1e-6)


def test_implicit_against_optimistix(float64):
  params, x, v = problem()

  def reference(params, x):
    solution = optimistix.fixed_point(
      lambda z, arguments: tanh_map(*arguments, z),
      optimistix.FixedPointIteration(rtol=1e-12, atol=1e-12),
      jnp.zeros_like(v),
      (params, x),
      max_steps=1000,
      adjoint=optimistix.ImplicitAdjoint(),
    )
    return jnp.sum(v * solution.value + solution.value**2)

  expected = jax.jit(jax.grad(reference, (0, 1)))(params, x)
  for solver, gradient in [
    (Broyden(100, 1e-12), Implicit(Broyden(100, 1e-13, relative=True))),
    (Simple(400, 1e-12), Implicit(Simple(500, 1e-13, relative=True))),
  ]:
    assert far(gradient_of(params, x, v, solver, gradient), expected) < 1e-8


def test_the_other_gradients_approach_the_implicit_one(float64):
  params, x, v = problem()
  exact = gradient_of(params, x, v, TIGHT, EXACT)
  for solver, gradient, error in [
    (Simple(300), Unrolled(), 1e-8),
    (Simple(300), Unrolled(200, policy="nothing_saveable"), 1e-8),
    (TIGHT, Unrolled(), 1e-8),
    (TIGHT, Phantom(300, 0.7, policy="dots_saveable"), 1e-8),
    (TIGHT, JacobianFree(), 1.0),
  ]:
    assert far(gradient_of(params, x, v, solver, gradient), exact) < error


def test_jacobian_free_is_one_application(float64):
  params, x, v = problem()
  state = fixed_point(tanh_map, params, x, jnp.zeros_like(v), solver=TIGHT)

  def once(params, x):
    z = tanh_map(params, x, jax.lax.stop_gradient(state.value))
    return jnp.sum(v * z + z**2)

  expected = jax.jit(jax.grad(once, (0, 1)))(params, x)
  found = gradient_of(params, x, v, TIGHT, JacobianFree())
  assert far(found, expected) < 1e-10


def test_derivatives_of_the_derivative(float64):
  """A gradient penalty: reverse mode over the implicit backward pass."""
  params, x, v = problem(size=4)

  def penalty(params, gradient, solver):
    d_x = jax.grad(loss, 1)(params, x, v, solver, gradient)
    return jnp.sum(d_x**2)

  implicit = jax.jit(jax.grad(lambda p: penalty(p, EXACT, TIGHT)))(params)
  unrolled = jax.jit(jax.grad(lambda p: penalty(p, Unrolled(), Simple(300))))(
    params
  )
  assert far(implicit, unrolled) < 1e-8


def test_jacobian_penalty_adds_up_with_implicit(float64):
  params, x, v = problem(size=4)
  probes = gaussian_like(jax.random.key(0), v, 2)

  def total(params, solver, gradient):
    solution = fixed_point(
      tanh_map,
      params,
      x,
      jnp.zeros_like(v),
      solver=solver,
      gradient=gradient,
    )
    z = solution.value
    return jnp.sum(v * z) + jacobian_penalty(tanh_map, params, x, z, probes)

  implicit = jax.jit(jax.grad(lambda p: total(p, TIGHT, EXACT)))(params)
  unrolled = jax.jit(jax.grad(lambda p: total(p, Simple(300), Unrolled())))(
    params
  )
  assert far(implicit, unrolled) < 1e-8


def test_backward_solve_is_reported(float64):
  params, x, v = problem()
  gradient = Implicit(Simple(4, 1e-6, relative=True))
  probe = jnp.zeros((4, 3))
  report = jax.jit(jax.grad(lambda r: loss(params, x, v, TIGHT, gradient, r)))(
    probe
  )
  residual, relative, steps = report.T
  assert (residual > 0).all()
  assert (relative > 1e-6).all()
  np.testing.assert_array_equal(steps, 4)
  tight = jax.jit(jax.grad(lambda r: loss(params, x, v, TIGHT, EXACT, r)))(
    probe
  )
  assert (tight[:, 1] < 1e-14).all()
  assert (tight[:, 2] < 100).all()


GRADIENTS = [
  (Anderson(60, 1e-6), Implicit(Broyden(40, 1e-6, relative=True))),
  (Simple(60), Unrolled(policy="nothing_saveable")),
]


@pytest.mark.parametrize(("solver", "gradient"), GRADIENTS)
def test_transformations(solver, gradient):
  """vmap, scan, checkpoint, sharded inputs and shard_map change nothing."""
  params, x, v = problem(np.float32)
  x, v = jnp.tile(x, (2, 1)), jnp.tile(v, (2, 1))

  def one(params, x, v):
    return loss(params, x, v, solver, gradient)

  def plain(params):
    return one(params, x, v)

  expected = jax.jit(jax.grad(plain))(params)

  def mapped(params):
    return jax.vmap(one, (None, 0, 0))(params, x[:, None], v[:, None]).sum()

  def scanned(params):
    def body(total, pair):
      return total + one(params, *pair), None

    pairs = x.reshape(4, 2, -1), v.reshape(4, 2, -1)
    return jax.lax.scan(body, 0.0, pairs)[0]

  mesh = jax.make_mesh(
    (2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2]
  )
  spec = PartitionSpec("data")
  split = jax.shard_map(
    lambda p, x, v: jax.lax.psum(one(p, x, v), "data"),
    mesh=mesh,
    in_specs=(PartitionSpec(), spec, spec),
    out_specs=PartitionSpec(),
  )
  for function in (
    mapped,
    scanned,
    jax.checkpoint(plain),
    lambda params: split(params, x, v),
  ):
    assert far(jax.jit(jax.grad(function))(params), expected) < 1e-4
  place = NamedSharding(mesh, spec)
  found = jax.jit(jax.grad(one))(
    params, jax.device_put(x, place), jax.device_put(v, place)
  )
  assert far(found, expected) < 1e-4


def test_two_forward_passes_before_one_backward_pass():
  params, x, v = problem(np.float32)
  solver, gradient = GRADIENTS[0]

  @jax.jit
  def crossed(params):
    first, pullback = jax.vjp(lambda p: loss(p, x, v, solver, gradient), params)
    second, other = jax.vjp(lambda p: loss(p, -x, v, solver, gradient), params)
    return pullback(jnp.ones_like(second))[0], other(jnp.ones_like(first))[0]

  one, two = crossed(params)
  assert far(one, gradient_of(params, x, v, solver, gradient, 0)) < 1e-4
  assert far(two, gradient_of(params, -x, v, solver, gradient, 0)) < 1e-4


def test_a_diverging_sample_does_not_affect_the_implicit_gradient():
  params, x, v = problem(np.float32)

  def f(params, x, z):
    # Finite at the initial state, infinite after three steps.
    wild = jnp.where(x[:, :1] > 50, 1e20, 0)
    return tanh_map(params, x, z) + wild * z**2

  def total(params, x):
    solution = fixed_point(
      f,
      params,
      x,
      jnp.zeros_like(v),
      solver=Anderson(60, 1e-6),
      gradient=Implicit(),
    )
    healthy = jnp.where(x[:, :1] > 50, 0, solution.value)
    return jnp.sum(v * healthy), solution.converged

  diverging = x.at[2, 0].set(60.0)
  call = jax.jit(jax.grad(total, has_aux=True))
  gradient, converged = call(params, diverging)
  np.testing.assert_array_equal(converged, [True, True, False, True])
  keep = jnp.array([0, 1, 3])
  v = v[keep]
  expected, _ = jax.jit(jax.grad(total, has_aux=True))(params, x[keep])
  assert far(gradient, expected) < 1e-4


def test_inputs_that_are_not_floating_point_have_no_gradient():
  """The inputs of an implicit layer may include labels and keys."""
  params, x, v = problem(np.float32)

  def f(params, x, z):
    x, labels, key = x
    mask = jax.random.bernoulli(key, 0.9, z.shape)
    return tanh_map(params, x, z) * mask + labels[:, None] * 0.1

  def total(params, gradient):
    solution = fixed_point(
      f,
      params,
      (x, jnp.arange(4), jax.random.key(0)),
      jnp.zeros_like(v),
      solver=Anderson(60, 1e-6),
      gradient=gradient,
    )
    return jnp.sum(v * solution.value)

  implicit = jax.jit(jax.grad(total), static_argnums=1)(params, Implicit())
  phantom = jax.jit(jax.grad(total), static_argnums=1)(params, Phantom(100))
  assert far(implicit, phantom) < 1e-3


def blocks(params, x, z):
  """Two residual layers, wide inside."""
  for w in params:
    z = z + jnp.tanh(z @ w["in"] + x) @ w["out"]
  return z


def bytes_of(solver, gradient):
  """Temporary memory of the compiled gradient of a training step."""
  shape = jax.ShapeDtypeStruct
  z = shape((8, 64, 32), jnp.float32)
  x = shape((8, 64, 256), jnp.float32)
  params = [
    {
      "in": shape((32, 256), jnp.float32),
      "out": shape((256, 32), jnp.float32),
    }
  ] * 2

  def total(params, x):
    value = fixed_point(
      blocks, params, x, jnp.zeros(z.shape), solver=solver, gradient=gradient
    ).value
    return jnp.mean(value**2)

  compiled = jax.jit(jax.grad(total)).lower(params, x).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_implicit_does_not_grow():
  few, some, many = (
    bytes_of(Simple(k), Implicit(Simple(k))) for k in (6, 24, 96)
  )
  assert abs(some / few - 1) < 0.02
  assert abs(many / few - 1) < 0.02


def test_memory_of_checkpointed_steps_grows_by_states():
  gradient = Unrolled(policy="nothing_saveable")
  few, many = (bytes_of(Simple(k), gradient) for k in (6, 24))
  state = 8 * 64 * 32 * 4
  assert many - few <= 18 * state * 1.05
  few, many = (bytes_of(Simple(k), Unrolled()) for k in (6, 24))
  assert many - few > 18 * state * 5
