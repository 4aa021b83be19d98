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
from cases import cases, each
from equilibrium_cases import (
  UNSEEN,
  float64,
  make_solver,
  solver_of_trace,
  tanh_map,
)
from tolerances import tolerance

from get_jax.equilibrium import (
  Anderson,
  Implicit,
  JacobianFree,
  Phantom,
  Simple,
  Unrolled,
  correction_loss,
  fixed_point,
)
from get_jax.equilibrium.gradients import solve_adjoint

double = pytest.fixture(scope="module", autouse=True)(float64)


def loss_of(v, z):
  return jnp.sum(v * z) + 0.5 * jnp.sum(z**2)


def correction(v, states):
  """The weighted loss of the returned states; of one state, its loss."""
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


def close(case, got, expected, name="", kind="get/deq"):
  np.testing.assert_allclose(
    got,
    expected,
    rtol=tolerance(case, kind),
    atol=min(1e-9, tolerance(case, kind)),
    err_msg=name,
  )


def compare(case, name, result):
  value, z, gradients = result
  out = case.under(f"out/{name}")
  close(case, z, out["z_out"])
  close(case, value, out["loss"])
  for key, gradient in gradients.items():
    close(case, gradient, out[f"grad_{key}"], key)


def config_of(case, name):
  return case.meta["configs"][name]["config"]


def forward_solver(config, steps=None):
  """The forward solver of a configuration, or of `steps` of its steps."""
  return make_solver(
    config.get("f_solver"), config["f_max_iter"] if steps is None else steps
  )


def steps_of(config):
  """The number of differentiated steps, for one returned state."""
  grad = config.get("grad", 1)
  return grad if isinstance(grad, int) else grad[-1]


def taps_of(config):
  """The differentiated steps whose states torchdeq returns, or None."""
  steps = steps_of(config)
  gap, places = config.get("sup_gap", -1), config.get("sup_loc", [])
  if gap > 0:
    return tuple(range(gap, steps + 1, gap))
  return (*places, steps) if places else None


@each("get/deq_phantom*.npz", lambda case: case.meta["configs"])
def test_unrolled(case, name):
  """Damped steps after the solver, differentiated one by one."""
  given, config = case.under("in"), config_of(case, name)
  taps, steps = taps_of(config), steps_of(config)

  def states(params, x):
    z = given["z0"]
    if config["f_max_iter"]:
      solver = forward_solver(config)
      z = fixed_point(tanh_map, params, x, z, solver=solver).value
      z = jax.lax.stop_gradient(z)
    solution = fixed_point(
      tanh_map,
      params,
      x,
      z,
      solver=Simple(steps, damping=config.get("tau", 1.0)),
      gradient=Unrolled(),
      taps=taps,
    )
    if taps is None:
      return solution.value[None]
    return solution.taps[: len(taps)]

  compare(case, name, differentiate(given, states))


@each(
  "get/deq_phantom*.npz",
  lambda case: [
    name
    for name in case.meta["configs"]
    if taps_of(config_of(case, name)) is None
    and config_of(case, name)["f_max_iter"]
  ],
)
def test_phantom(case, name):
  given, config = case.under("in"), config_of(case, name)
  gradient = Phantom(steps_of(config), config.get("tau", 1.0))

  def states(params, x):
    solution = fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=forward_solver(config),
      gradient=gradient,
    )
    return solution.value[None]

  compare(case, name, differentiate(given, states))


@each("get/deq_ift*.npz", lambda case: case.meta["configs"])
def test_implicit_parts(case, name):
  """torchdeq returns f(z) of the solver's z, takes df/dparams at z and the
  Jacobian of the backward system at f(z), or, as a hook, at z.
  """
  given, out = case.under("in"), case.under(f"out/{name}")
  config = config_of(case, name)
  forward = solver_of_trace(config.get("f_solver"), out["fwd_abs_trace"])
  backward = solver_of_trace(config.get("b_solver"), out["bwd_abs_trace"])
  params = {k: given[k] for k in "WUb"}

  @jax.jit
  def run(params, x):
    z = fixed_point(tanh_map, params, x, given["z0"], solver=forward).value
    image, pullback = jax.vjp(tanh_map, params, x, z)
    cotangent = given["v"] + image
    at_image = jax.vjp(tanh_map, params, x, image)[1]
    jacobian = pullback if config.get("hook_ift") else at_image
    y = solve_adjoint(jacobian, cotangent, Implicit(backward)).value
    return image, pullback(y)

  image, (d_params, d_x, _) = jax.device_get(run(params, given["x"]))
  kind = "get/deq_implicit"
  close(case, image, out["z_out"][0], kind=kind)
  for key, gradient in {**d_params, "x": d_x}.items():
    close(case, gradient, out[f"grad_{key}"], key, kind=kind)


@cases("get/deq_ift*.npz")
def test_implicit_is_exact(case):
  given, exact = case.under("in"), case.under("exact")

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
  limit = tolerance(case, "get/deq_implicit", "exact")
  np.testing.assert_allclose(z[0], exact["z"], rtol=limit)
  np.testing.assert_allclose(value, exact["loss"], rtol=limit)
  limit = tolerance(case, "get/deq_implicit", "exact_grad")
  for key, gradient in gradients.items():
    error = np.linalg.norm(gradient - exact[key])
    assert error < limit * np.linalg.norm(exact[key]), key


def core_names(core, implicit=False):
  """Returns a function that selects the configurations of a torchdeq core."""

  def names(case):
    for name in case.meta["configs"]:
      config = config_of(case, name)
      if config.get("core", "sliced") == core:
        if bool(config.get("ift")) == implicit:
          yield name

  return names


def gradients_of(config, count):
  """The gradient of every returned state."""
  grad = config.get("grad", 1)
  grads = [grad] * count if isinstance(grad, int) else grad
  assert len(grads) == count
  return [Phantom(k, config.get("tau", 1.0)) for k in grads]


@each("get/deq_core*.npz", core_names("indexing"))
def test_taps_with_a_gradient_each(case, name):
  """`out/*/indexing` holds the steps whose states are returned."""
  given, config = case.under("in"), config_of(case, name)
  taps = tuple(case.arrays[f"out/{name}/indexing"].tolist())
  gradients = gradients_of(config, len(taps))
  solver = forward_solver(config)

  def states(params, x):
    solution = fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=solver,
      gradient=JacobianFree(),
      taps=taps,
    )
    return jnp.stack(
      [
        gradient.attach(tanh_map, params, x, z)
        for gradient, z in zip(
          gradients, solution.taps[: len(taps)], strict=True
        )
      ]
    )

  compare(case, name, differentiate(given, states))


@each(
  "get/deq_core*.npz",
  lambda case: [
    name
    for name in core_names("indexing")(case)
    if isinstance(config_of(case, name).get("grad", 1), int)
  ],
)
def test_taps_with_phantom_gradients(case, name):
  given, config = case.under("in"), config_of(case, name)
  taps = tuple(case.arrays[f"out/{name}/indexing"].tolist())
  gradient = gradients_of(config, len(taps))[0]

  def states(params, x):
    return fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      solver=forward_solver(config),
      gradient=gradient,
      taps=taps,
    ).taps[: len(taps)]

  compare(case, name, differentiate(given, states))


@each("get/deq_core*.npz", core_names("sliced"))
def test_slices(case, name):
  """`out/*/indexing` holds the lengths of the slices."""
  given, config = case.under("in"), config_of(case, name)
  lengths = case.arrays[f"out/{name}/indexing"].tolist()
  gradients = gradients_of(config, len(lengths))

  def states(params, x):
    z, kept = given["z0"], []
    for length, gradient in zip(lengths, gradients, strict=True):
      z = fixed_point(
        tanh_map,
        params,
        x,
        jax.lax.stop_gradient(z),
        solver=forward_solver(config, length),
        gradient=gradient,
      ).value
      kept.append(z)
    return jnp.stack(kept)

  compare(case, name, differentiate(given, states))


@each(
  "get/deq_core*.npz",
  lambda case: [
    *core_names("indexing", True)(case),
    *core_names("sliced", True)(case),
  ],
)
def test_implicit_after_other_states(case, name):
  """The last state is implicit, those before it have differentiated steps."""
  given, out = case.under("in"), case.under(f"out/{name}")
  config, places = config_of(case, name), out["indexing"].tolist()
  params = {k: given[k] for k in "WUb"}
  early_gradients = gradients_of(config, len(places))[:-1]

  def indexed(params, x):
    solution = fixed_point(
      tanh_map,
      params,
      x,
      given["z0"],
      gradient=JacobianFree(),
      solver=forward_solver(config),
      taps=tuple(places),
    )
    early = [
      gradient.attach(tanh_map, params, x, z)
      for gradient, z in zip(early_gradients, solution.taps, strict=False)
    ]
    return jnp.stack(early), jax.lax.stop_gradient(solution.value)

  def sliced(params, x):
    z, early = given["z0"], []
    for length, gradient in zip(places, early_gradients, strict=False):
      z = fixed_point(
        tanh_map,
        params,
        x,
        jax.lax.stop_gradient(z),
        solver=forward_solver(config, length),
        gradient=gradient,
      ).value
      early.append(z)
    last = fixed_point(
      tanh_map,
      params,
      x,
      jax.lax.stop_gradient(z),
      solver=forward_solver(config, places[-1]),
    )
    return jnp.stack(early), jax.lax.stop_gradient(last.value)

  forward = indexed if config.get("core") == "indexing" else sliced

  @jax.jit
  def run(params, x):
    (early, z), rest = jax.vjp(forward, params, x)
    image, pullback = jax.vjp(tanh_map, params, x, z)
    at_image = jax.vjp(tanh_map, params, x, image)[1]
    states = jnp.concatenate([early, image[None]])
    cotangents = jax.grad(functools.partial(correction, given["v"]))(states)
    solver = solver_of_trace(config.get("b_solver"), out["bwd_abs_trace"])
    y = solve_adjoint(at_image, cotangents[-1], Implicit(solver)).value
    gradients = jax.tree.map(
      jnp.add,
      rest((cotangents[:-1], jnp.zeros_like(z))),
      pullback(y)[:2],
    )
    return correction(given["v"], states), states, gradients

  loss, states, (d_params, d_x) = jax.device_get(run(params, given["x"]))
  compare(case, name, (loss, states, {**d_params, "x": d_x}))


def pair_map(params, x, z):
  a, b = z
  flat = b.reshape(len(b), -1)
  return (
    jnp.tanh(a @ params["A"].T + flat @ params["Bm"].T + x[0]),
    jnp.tanh(
      (a @ params["C"].T + flat @ params["D"].T).reshape(b.shape) + x[1]
    ),
  )


@each("get/deq_multi*.npz", lambda case: case.meta["configs"])
def test_two_equilibria_at_once(case, name):
  given, out = case.under("in"), case.under(f"out/{name}")
  params = {k: given[k] for k in ("A", "Bm", "C", "D")}
  x, z0 = (given["xa"], given["xb"]), (given["a0"], given["b0"])
  config = case.meta["configs"][name]
  implicit = config.get("ift", False)
  if implicit:
    solver = solver_of_trace(config.get("f_solver"), out["abs_trace"])
    backward = make_solver(
      config.get("b_solver"), config["b_max_iter"], config["b_tol"]
    )
    gradient = Implicit(backward)
  else:
    solver = forward_solver(config)
    gradient = gradients_of(config, 1)[0]

  def loss(params):
    solution = fixed_point(
      pair_map, params, x, z0, solver=solver, gradient=gradient, trace=True
    )
    value = solution.value
    if implicit:
      # torchdeq returns one more image.
      value = pair_map(params, x, value)
    total = sum(jnp.sum(leaf**2) for leaf in value)
    return total, (value, solution)

  call = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (total, (value, solution)), gradients = jax.device_get(call(params))
  for z, leaf in zip("ab", value, strict=True):
    close(case, leaf, out[f"z_{z}"][0])
  close(case, total, out["loss"])
  for key, gradient in gradients.items():
    close(case, gradient, out[f"grad_{key}"], key)
  if out["abs_trace"].shape[1] > 1:  # the simple solver has no trace
    trace = solution.trace[UNSEEN[type(solver)] :].T
    close(case, trace, out["abs_trace"][:, 1 : 1 + trace.shape[1]])
    close(case, solution.residual, out["abs_lowest"])
