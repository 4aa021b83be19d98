"""Training aids against torchdeq's, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from get_jax.equilibrium import (
  Exponential,
  Linear,
  correction_loss,
  jacobian_penalty,
  spectral_radius,
)
from get_jax.nn.normalization import SpectralNorm, WeightNorm

CLOSE = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module", autouse=True)
def float64():
  # Small programs, run once: their compilation is all that takes time.
  jax.config.update("jax_disable_most_optimizations", True)
  with jax.enable_x64(True):
    yield
  jax.config.update("jax_disable_most_optimizations", False)


def tanh_map(params, x, z):
  return jnp.tanh(z @ params["W"].T + x @ params["U"].T + params["b"])


def test_jacobian_penalty(golden):
  case = golden("get/deq_jacobian")
  given, out = case.under("in"), case.under("out")
  params = {k: given[k] for k in "WUb"}

  def penalty(params, x):
    return jacobian_penalty(
      tanh_map, params, x, given["z0"], jnp.asarray(given["probes"])
    )

  call = jax.jit(jax.value_and_grad(penalty, (0, 1)))
  value, (d_params, d_x) = call(params, given["x"])
  CLOSE(value, out["jac_reg"])
  for key, gradient in {**d_params, "x": d_x}.items():
    CLOSE(gradient, out[f"jac_reg_grad_{key}"], err_msg=key)


@pytest.mark.parametrize("problem", ["sym", "nonsym"])
def test_power_iteration(golden, problem):
  case = golden("get/deq_jacobian")
  given, out = case.under("in"), case.under(f"out/{problem}")
  if problem == "sym":
    given = case.under("in/sym") | {"start": given["sym/evector0"]}
  else:
    given = given | {"start": given["nonsym/evector0"]}
  params = {k: given[k] for k in "WUb"}
  run = jax.jit(
    functools.partial(spectral_radius, tanh_map), static_argnames="steps"
  )
  for steps in case.meta["iters"]:
    result = jax.device_get(
      run(params, given["x"], given["z0"], given["start"], steps=steps)
    )
    CLOSE(result.quotient, out[f"evalue_{steps}"], err_msg=str(steps))
    CLOSE(result.vector, out[f"evector_{steps}"], err_msg=str(steps))
  exact = case.arrays[f"exact/{problem}/spectral_radius"]
  # Where the leading pair is complex the quotient means nothing.
  quotient_error = np.abs(result.quotient / exact - 1).max()
  radius_error = np.abs(result.radius / exact - 1).max()
  if problem == "sym":
    assert quotient_error < 0.01
  else:
    assert radius_error < 0.05 < quotient_error


@pytest.mark.parametrize(
  "name", ["exp", "exp_gamma0.5", "linear", "linear_gamma0.5_bias0.1", "cycled"]
)
def test_correction_loss(golden, name):
  case = golden("get/fp_correction")
  given, out = case.under("in"), case.under("out")
  if name == "cycled":
    targets = np.resize(given["preds"][4:], (4, *given["target"].shape))
    values = [
      np.abs(p - t).mean()
      for p, t in zip(given["preds"][:4], targets, strict=True)
    ]
    CLOSE(correction_loss(jnp.asarray(values)), out["cycled"])
    return
  weighting = {
    "exp": Exponential(),
    "exp_gamma0.5": Exponential(0.5),
    "linear": Linear(),
    "linear_gamma0.5_bias0.1": Linear(0.5, 0.1),
  }[name]
  for count in (1, 2, 4, 6):
    values = jnp.asarray(out[f"{name}/n{count}/values"])
    CLOSE(correction_loss(values, weighting), out[f"{name}/n{count}/loss"])


# torch's layout to ours, whose last axis is the output.
LAYOUTS = {"linear": (1, 0), "conv": (2, 3, 1, 0), "convt": (2, 3, 0, 1)}
SETTINGS = {
  "default": {},
  "noscale": {"target": 0.7},
  "clip": {"clip": 0.6},
  "noscale_clip": {"target": 1.5, "clip": 0.9},
  "iters3": {"steps": 3},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_normalisation(golden, kind, setting):
  if (kind, setting) == ("weight_norm", "iters3"):
    return
  case = golden("get/deq_norms")
  norm = {"weight_norm": WeightNorm, "spectral_norm": SpectralNorm}[kind](
    **SETTINGS[setting]
  )
  for layer, axes in LAYOUTS.items():
    given = case.under(f"in/{kind}/{setting}/{layer}")
    out = case.under(f"out/{kind}/{setting}/{layer}")
    learned = kind == "spectral_norm"
    stored = "state/weight_orig" if learned else "state/weight_v"
    params = {"layer": {"kernel": ours(given[stored], axes)}}
    variables = {"params": {}}
    if "state/weight_g" in given:
      variables["params"] = {
        "magnitude:layer/kernel": jnp.asarray(given["state/weight_g"].ravel())
      }
    if learned:
      variables["spectral"] = {
        "layer/kernel": {
          "u": jnp.asarray(given["state/weight_u"]),
          "v": reorder(given["state/weight_v"], given[stored].shape, axes),
        }
      }

    def effective(params, trained, state, train=True):
      new, state = norm.apply(
        {**state, "params": trained},
        params,
        mutable=["spectral"] if train else [],
      )
      return new["layer"]["kernel"], state

    trained = variables.pop("params")
    state = variables
    expected = [ours(w, axes) for w in out["weights"]]
    cotangent = ours(given["cotangent"], axes)
    for step in range(3):
      before = state
      weight, state = effective(params, trained, state)
      CLOSE(weight, expected[step], err_msg=f"{layer} {step}")
    weight, _ = effective(params, trained, state, train=False)
    CLOSE(weight, expected[3], err_msg=layer)
    gradients = jax.grad(
      lambda p, t, state, c: jnp.sum(effective(p, t, state)[0] * c), (0, 1)
    )(params, trained, before, cotangent)
    of_kernel = "weight_orig" if learned else "weight_v"
    CLOSE(
      gradients[0]["layer"]["kernel"],
      ours(out[f"grad_{of_kernel}"], axes),
      err_msg=layer,
    )
    for gradient in jax.tree.leaves(gradients[1]):
      CLOSE(gradient, out["grad_weight_g"].ravel(), err_msg=layer)
    if learned:
      vectors = traverse_util.flatten_dict(state["spectral"], sep=".")
      CLOSE(vectors["layer/kernel.u"], out["weight_u_after"])


def ours(weight, axes):
  return jnp.asarray(weight.transpose(axes))


def reorder(vector, shape, axes):
  """torch's vector over everything but the output, in our order."""
  output = axes[-1]
  rest = [n for i, n in enumerate(shape) if i != output]
  kept = [i for i in range(len(shape)) if i != output]
  order = [kept.index(a) for a in axes[:-1]]
  return jnp.asarray(vector.reshape(rest).transpose(order).ravel())
