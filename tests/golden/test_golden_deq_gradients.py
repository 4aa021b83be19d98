"""Gradients and returned states against torchdeq's, in float64.

Where torchdeq does more than one thing in a call (a list of gradients, slices
that resume from each other), the test composes the parts of this library that
it consists of.
"""

import functools

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
  correction_loss,
  fixed_point,
)
from get_jax.equilibrium.gradients import solve_adjoint

CLOSE = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
ANDERSON = dict(window=6, ridge=1e-4, absolute=True)


@pytest.fixture(scope="module", autouse=True)
def float64():
  # Small programs, run once: their compilation is all that takes time.
  jax.config.update("jax_disable_most_optimizations", True)
  with jax.enable_x64(True):
    yield
  jax.config.update("jax_disable_most_optimizations", False)


def tanh_map(params, x, z):
  return jnp.tanh(z @ params["W"].T + x @ params["U"].T + params["b"])


def arrays(case):
  return case.under("in")


def loss_of(v, z):
  return jnp.sum(v * z) + 0.5 * jnp.sum(z**2)


def correction(v, states):
  return correction_loss(jax.vmap(functools.partial(loss_of, v))(states))


def differentiate(given, states):
  """Loss of the states, the states, and gradients to W, U, b, x.

  `states(params, x)` returns leaves (n, B, D).
  """

  def loss(params, x):
    z = states(params, x)
    return correction(given["v"], z), z

  params = {k: given[k] for k in "WUb"}
  call = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
  (value, z), (d_params, d_x) = jax.device_get(call(params, given["x"]))
  return value, z, {**d_params, "x": d_x}


def compare(out, name, result):
  value, z, gradients = result
  CLOSE(z, out[f"{name}/z_out"])
  CLOSE(value, out[f"{name}/loss"])
  for key, gradient in gradients.items():
    CLOSE(gradient, out[f"{name}/grad_{key}"], err_msg=key)


PHANTOM = {
  "steps1_tau1.0": (4, Phantom(1)),
  "steps3_tau0.7": (4, Phantom(3, 0.7)),
  "steps5_tau0.5": (4, Phantom(5, 0.5)),
  "steps6_tau1.0": (4, Phantom(6)),
}


@pytest.mark.parametrize("name", PHANTOM)
def test_phantom(golden, name):
  case = golden("get/deq_phantom")
  given, (steps, gradient) = arrays(case), PHANTOM[name]

  def states(params, x):
    solver = Simple(steps, 0.0)
    solution = fixed_point(
      tanh_map, params, x, given["z0"], solver=solver, gradient=gradient
    )
    return solution.value[None]

  compare(case.under("out"), name, differentiate(given, states))


# Solver steps before, differentiated steps, damping, and which are returned.
UNROLLED = {
  "unroll6_last": (0, 6, 1.0, None),
  "unroll6_fpc": (0, 6, 1.0, range(1, 7)),
  "sup_gap2": (3, 6, 0.9, (2, 4, 6)),
  "sup_loc": (3, 5, 0.9, (1, 3)),
}


@pytest.mark.parametrize("name", UNROLLED)
def test_unrolled(golden, name):
  case = golden("get/deq_phantom")
  given, (before, steps, tau, taps) = arrays(case), UNROLLED[name]

  def states(params, x):
    z = given["z0"]
    if before:
      solver = Simple(before, 0.0)
      z = fixed_point(tanh_map, params, x, z, solver=solver).value
      z = jax.lax.stop_gradient(z)
    solution = fixed_point(
      tanh_map,
      params,
      x,
      z,
      solver=Simple(steps, damping=tau),
      gradient=Unrolled(),
      taps=taps,
    )
    return solution.value[None] if taps is None else solution.taps

  compare(case.under("out"), name, differentiate(given, states))


def solver_of(kind, trace):
  """A solver that takes as many steps as torchdeq did.

  torchdeq stops a batch when its worst sample has converged, and pads its
  trace with the best value; it sees neither Anderson's first two evaluations
  nor Broyden's first.
  """
  trace = trace[:, 1:]
  padded = (trace[:, 1:] == trace[:, :-1]).all(axis=0)
  count = int(np.argmax(padded)) + 1 if padded.any() else trace.shape[1]
  return {
    None: Simple(count, 0.0),
    "anderson": Anderson(count + 2, 0.0, **ANDERSON),
    "broyden": Broyden(count + 1, 0.0),
  }[kind]


@pytest.fixture(scope="module")
def implicit(golden):
  return golden("get/deq_ift")


@pytest.mark.parametrize(
  "name",
  [
    "default",
    "tight",
    "b_rel",
    "broyden_anderson",
    "loose",
    "loose_hook",
    "loose_b_anderson",
    "loose_b_broyden",
  ],
)
def test_implicit_parts(implicit, name):
  """torchdeq returns f(z) of the solver's z, takes df/dparams at z and the
  Jacobian of the backward system at f(z), or, as a hook, at z.
  """
  given, out = arrays(implicit), implicit.under(f"out/{name}")
  config = implicit.meta["configs"][name]["config"]
  forward = solver_of(config.get("f_solver"), out["fwd_abs_trace"])
  backward = solver_of(config.get("b_solver"), out["bwd_abs_trace"])
  params = {k: given[k] for k in "WUb"}

  @jax.jit
  def run(params, x):
    z = fixed_point(tanh_map, params, x, given["z0"], solver=forward).value
    image, pullback = jax.vjp(tanh_map, params, x, z)
    cotangent = given["v"] + image
    at_image = jax.vjp(tanh_map, params, x, image)[1]
    jacobian = pullback if name == "loose_hook" else at_image
    y = solve_adjoint(jacobian, cotangent, Implicit(backward)).value
    return image, pullback(y)

  image, (d_params, d_x, _) = jax.device_get(run(params, given["x"]))
  CLOSE(image, out["z_out"][0], rtol=1e-8)
  for key, gradient in {**d_params, "x": d_x}.items():
    CLOSE(gradient, out[f"grad_{key}"], rtol=1e-8, err_msg=key)


def test_implicit_is_exact(implicit):
  given, exact = arrays(implicit), implicit.under("exact")

  def states(params, x):
    return fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=Anderson(100, 1e-13),
      gradient=Implicit(Anderson(100, 1e-14)),
    ).value[None]

  value, z, gradients = differentiate(given, states)
  np.testing.assert_allclose(z[0], exact["z"], rtol=1e-9)
  np.testing.assert_allclose(value, exact["loss"], rtol=1e-9)
  for key, gradient in gradients.items():
    error = np.linalg.norm(gradient - exact[key])
    assert error < 1e-8 * np.linalg.norm(exact[key]), key


# name: solver, gradient, taps.
INDEXED = {
  "indexing_n3": (Simple(9, 0.0), Phantom(2, 0.8), (3, 6, 9)),
  "indexing_rest": (Simple(10, 0.0), Phantom(1), (4, 6, 8, 10)),
  "indexing_anderson": (Anderson(9, 0.0, **ANDERSON), Phantom(1), (4, 6, 9)),
}


@pytest.mark.parametrize("name", INDEXED)
def test_taps_with_phantom_gradients(golden, name):
  case = golden("get/deq_core")
  given, (solver, gradient, taps) = arrays(case), INDEXED[name]

  def states(params, x):
    return fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=solver,
      gradient=gradient,
      taps=taps,
    ).taps

  compare(case.under("out"), name, differentiate(given, states))


def test_taps_with_a_gradient_each(golden):
  case = golden("get/deq_core")
  given = arrays(case)

  def states(params, x):
    solution = fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=Simple(9, 0.0),
      gradient=JacobianFree(),
      taps=(2, 5, 9),
    )
    return jnp.stack(
      [
        Phantom(k).attach(tanh_map, params, x, z)
        for k, z in zip((1, 2, 3), solution.taps, strict=True)
      ]
    )

  compare(case.under("out"), "indexing_idx", differentiate(given, states))


# name: solvers and gradients of successive slices.
SLICED = {
  "sliced_n3": [(Simple(3, 0.0), Phantom(2, 0.8))] * 3,
  "sliced_idx": [
    (Simple(2, 0.0), Phantom(1)),
    (Simple(3, 0.0), Phantom(2)),
    (Simple(4, 0.0), Phantom(3)),
  ],
  "sliced_broyden": [(Broyden(5, 0.0), Phantom(1))] * 2,
}


@pytest.mark.parametrize("name", ["indexing_idx_ift", "sliced_idx_ift"])
def test_implicit_after_another_state(golden, name):
  """The first state has one differentiated step, the last is implicit."""
  case = golden("get/deq_core")
  given, out = arrays(case), case.under(f"out/{name}")
  params = {k: given[k] for k in "WUb"}

  def forward(params, x):
    if name == "indexing_idx_ift":
      options = dict(solver=Simple(9, 0.0), taps=(3,))
      solution = fixed_point(
        tanh_map, params, x, given["z0"], gradient=JacobianFree(), **options
      )
      first = Phantom(1).attach(tanh_map, params, x, solution.taps[0])
      return first, jax.lax.stop_gradient(solution.value)
    first = fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=Simple(3, 0.0),
      gradient=Phantom(),
    ).value
    start = jax.lax.stop_gradient(first)
    last = fixed_point(tanh_map, params, x, start, solver=Simple(6, 0.0))
    return first, jax.lax.stop_gradient(last.value)

  @jax.jit
  def run(params, x):
    (first, z), rest = jax.vjp(forward, params, x)
    image, pullback = jax.vjp(tanh_map, params, x, z)
    at_image = jax.vjp(tanh_map, params, x, image)[1]
    solver = solver_of(None, out["bwd_abs_trace"])
    y = solve_adjoint(at_image, given["v"] + image, Implicit(solver)).value
    early = rest((0.8 * (given["v"] + first), jnp.zeros_like(z)))
    late = pullback(y)[:2]
    states = jnp.stack([first, image])
    gradients = jax.tree.map(jnp.add, early, late)
    return correction(given["v"], states), states, gradients

  loss, states, (d_params, d_x) = jax.device_get(run(params, given["x"]))
  CLOSE(states, out["z_out"])
  CLOSE(loss, out["loss"])
  for key, gradient in {**d_params, "x": d_x}.items():
    CLOSE(gradient, out[f"grad_{key}"], err_msg=key)


@pytest.mark.parametrize("name", SLICED)
def test_slices(golden, name):
  case = golden("get/deq_core")
  given = arrays(case)

  def states(params, x):
    z, kept = given["z0"], []
    for solver, gradient in SLICED[name]:
      z = jax.lax.stop_gradient(z)
      solution = fixed_point(
        tanh_map, params, x, z, solver=solver, gradient=gradient
      )
      z = solution.value
      kept.append(z)
    return jnp.stack(kept)

  compare(case.under("out"), name, differentiate(given, states))


def pair_map(params, x, z):
  a, b = z
  flat = b.reshape(len(b), -1)
  return (
    jnp.tanh(a @ params["A"].T + flat @ params["Bm"].T + x[0]),
    jnp.tanh(
      (a @ params["C"].T + flat @ params["D"].T).reshape(b.shape) + x[1]
    ),
  )


@pytest.mark.parametrize("name", ["fp", "anderson", "simple", "broyden_ift"])
def test_two_equilibria_at_once(golden, name):
  case = golden("get/deq_multi")
  given, out = arrays(case), case.under(f"out/{name}")
  params = {k: given[k] for k in ("A", "Bm", "C", "D")}
  x, z0 = (given["xa"], given["xb"]), (given["a0"], given["b0"])
  broyden = solver_of("broyden", case.arrays["out/broyden_ift/abs_trace"])
  solver, gradient = {
    "fp": (Simple(12, 0.0), Phantom(2)),
    "anderson": (Anderson(9, 0.0, **ANDERSON), Phantom(1)),
    "simple": (Simple(5), Phantom(3, 0.7)),
    "broyden_ift": (broyden, Implicit(Simple(60, 1e-10))),
  }[name]

  def loss(params):
    solution = fixed_point(
      pair_map, params, x, z0, solver=solver, gradient=gradient, trace=True
    )
    value = solution.value
    if name == "broyden_ift":
      # torchdeq returns one more image.
      value = pair_map(params, x, value)
    total = sum(jnp.sum(leaf**2) for leaf in value)
    return total, (value, solution)

  call = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (total, (value, solution)), gradients = jax.device_get(call(params))
  for z, leaf in zip("ab", value, strict=True):
    CLOSE(leaf, out[f"z_{z}"][0])
  CLOSE(total, out["loss"])
  for key, gradient in gradients.items():
    CLOSE(gradient, out[f"grad_{key}"], err_msg=key)
  if name != "simple":
    unseen = {"fp": 0, "anderson": 2, "broyden_ift": 1}[name]
    trace = solution.trace[unseen:].T
    CLOSE(trace, out["abs_trace"][:, 1 : 1 + trace.shape[1]])
    CLOSE(solution.residual, out["abs_lowest"])
