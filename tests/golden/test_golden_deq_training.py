"""Training aids against torchdeq's, in float64."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases, each
from equilibrium_cases import float64, tanh_map
from flax import traverse_util
from tolerances import tolerance

from get_jax.equilibrium import (
  Exponential,
  Linear,
  correction_loss,
  jacobian_penalty,
  spectral_radius,
)
from get_jax.nn.normalization import SpectralNorm, WeightNorm

double = pytest.fixture(scope="module", autouse=True)(float64)


def close(case, got, expected, name=""):
  np.testing.assert_allclose(
    got,
    expected,
    rtol=tolerance(case, "get/deq_training"),
    atol=1e-12,
    err_msg=name,
  )


@cases("get/deq_jacobian*.npz")
def test_jacobian_penalty(case):
  given, out = case.under("in"), case.under("out")
  params = {k: given[k] for k in "WUb"}

  def penalty(params, x):
    return jacobian_penalty(
      tanh_map, params, x, given["z0"], jnp.asarray(given["probes"])
    )

  call = jax.jit(jax.value_and_grad(penalty, (0, 1)))
  value, (d_params, d_x) = call(params, given["x"])
  close(case, value, out["jac_reg"])
  for key, gradient in {**d_params, "x": d_x}.items():
    close(case, gradient, out[f"jac_reg_grad_{key}"], key)


@each("get/deq_jacobian*.npz", lambda case: case.groups("out"))
def test_power_iteration(case, name):
  out = case.under(f"out/{name}")
  # A problem without a map of its own has that of the penalty.
  given = {**case.under("in"), **case.under(f"in/{name}")}
  params = {k: given[k] for k in "WUb"}
  run = jax.jit(
    functools.partial(spectral_radius, tanh_map), static_argnames="steps"
  )
  for steps in case.meta["iters"]:
    result = jax.device_get(
      run(params, given["x"], given["z0"], given["evector0"], steps=steps)
    )
    close(case, result.quotient, out[f"evalue_{steps}"], str(steps))
    close(case, result.vector, out[f"evector_{steps}"], str(steps))
  exact = case.arrays[f"exact/{name}/spectral_radius"]
  shift = given["x"] @ given["U"].T + given["b"]
  slopes = 1 - np.tanh(given["z0"] @ given["W"].T + shift) ** 2
  values = np.linalg.eigvals(slopes[:, :, None] * given["W"])
  values = np.take_along_axis(values, np.argsort(-np.abs(values), 1), 1)
  np.testing.assert_allclose(np.abs(values[:, 0]), exact, rtol=1e-9)
  # Where the leading pair is complex, the quotient means nothing.
  pair = ~np.isreal(values[:, 0])
  following = np.take_along_axis(values, 1 + pair[:, None], 1)[:, 0]
  remaining = (np.abs(following) / exact) ** max(case.meta["iters"])
  quotient_error = np.abs(result.quotient / exact - 1)
  radius_error = np.abs(result.radius / exact - 1)
  assert (quotient_error[~pair & (remaining < 5e-3)] < 0.01).all()
  converged = pair & (remaining < 0.1)
  assert (radius_error[converged] < 0.05).all()
  assert (radius_error < quotient_error)[converged].all()


def weighting_of(name):
  """The weighting of a run such as "linear_gamma0.5_bias0.1"."""
  kind, gamma, bias = re.fullmatch(
    r"(exp|linear)(?:_gamma([\d.]+))?(?:_bias([\d.]+))?", name
  ).groups()
  numbers = [float(number) for number in (gamma, bias) if number]
  return {"exp": Exponential, "linear": Linear}[kind](*numbers)


@each("get/fp_correction*.npz", lambda case: case.groups("out"))
def test_correction_loss(case, name):
  weighting = weighting_of(name)
  for count in case.groups(f"out/{name}"):
    run = case.under(f"out/{name}/{count}")
    assert len(run["values"]) == int(count.removeprefix("n"))
    values = jnp.asarray(run["values"])
    close(case, correction_loss(values, weighting), run["loss"], count)


@cases("get/fp_correction*.npz", lambda case: "out/cycled" in case.names)
def test_correction_loss_of_cycled_targets(case):
  """The last two predictions are the targets of those before, in turns."""
  *predictions, first, second = case.arrays["in/preds"]
  values = [
    np.abs(p - (first, second)[i % 2]).mean() for i, p in enumerate(predictions)
  ]
  got = correction_loss(jnp.asarray(values))
  close(case, got, case.arrays["out/cycled"])


# torch's layout to ours, whose last axis is the output.
LAYOUTS = {"linear": (1, 0), "conv": (2, 3, 1, 0), "convt": (2, 3, 0, 1)}
NORMS = {"weight_norm": WeightNorm, "spectral_norm": SpectralNorm}


def norm_of(kind, config):
  """Our normalization of torchdeq's options."""
  fields = {}
  if config.get("norm_clip"):
    fields["clip"] = config["norm_clip_value"]
  if config.get("norm_no_scale"):
    fields["target"] = config["norm_target_norm"]
  if "sn_n_power_iters" in config:
    fields["steps"] = config["sn_n_power_iters"]
  return NORMS[kind](**fields)


@each("get/deq_norms*.npz", lambda case: case.meta["configs"])
def test_normalization(case, name):
  kind, _, layer = name.split("/")
  norm, axes = norm_of(kind, case.meta["configs"][name]), LAYOUTS[layer]
  given, out = case.under(f"in/{name}"), case.under(f"out/{name}")
  learned = kind == "spectral_norm"
  stored = "state/weight_orig" if learned else "state/weight_v"
  params = {"layer": {"kernel": ours(given[stored], axes)}}
  trained, state = {}, {}
  if "state/weight_g" in given:
    trained = {
      "magnitude:layer/kernel": jnp.asarray(given["state/weight_g"].ravel())
    }
  if learned:
    state["spectral"] = {
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

  *training, evaluation = (ours(w, axes) for w in out["weights"])
  assert training
  for step, expected in enumerate(training):
    before = state
    weight, state = effective(params, trained, state)
    close(case, weight, expected, str(step))
  weight, _ = effective(params, trained, state, train=False)
  close(case, weight, evaluation)
  cotangent = ours(given["cotangent"], axes)
  gradients = jax.grad(
    lambda p, t: jnp.sum(effective(p, t, before)[0] * cotangent), (0, 1)
  )(params, trained)
  of_kernel = "weight_orig" if learned else "weight_v"
  close(
    case, gradients[0]["layer"]["kernel"], ours(out[f"grad_{of_kernel}"], axes)
  )
  for gradient in jax.tree.leaves(gradients[1]):
    close(case, gradient, out["grad_weight_g"].ravel())
  if learned:
    vectors = traverse_util.flatten_dict(state["spectral"], sep=".")
    close(case, vectors["layer/kernel.u"], out["weight_u_after"])
    v = reorder(out["weight_v_after"], given[stored].shape, axes)
    close(case, vectors["layer/kernel.v"], v)


def ours(weight, axes):
  return jnp.asarray(weight.transpose(axes))


def reorder(vector, shape, axes):
  """torch's vector over everything but the output, in our order."""
  output = axes[-1]
  rest = [n for i, n in enumerate(shape) if i != output]
  kept = [i for i in range(len(shape)) if i != output]
  order = [kept.index(a) for a in axes[:-1]]
  return jnp.asarray(vector.reshape(rest).transpose(order).ravel())
