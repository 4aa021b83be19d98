"""EDM's preconditioning, losses, sampling and training of a tiny network."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import cases
from golden_numbers import (
  chw_to_hwc,
  fast_compile_jit,
  nhwc,
  relative,
  replay,
  sample_together,
)
from test_golden_edm_networks import PROCESS_FIELDS, network, official
from tolerances import tolerance

from get_jax.diffusion import create_process, create_sampler
from get_jax.interop.official import load_official
from get_jax.training.ema import half_life

PROCESSES = {
  "EDMPrecond": "edm",
  "VPPrecond": "edm_vp",
  "VEPrecond": "edm_ve",
  "iDDPMPrecond": "edm_iddpm",
}
# Arguments of the official losses, as fields of our processes.
LOSS_FIELDS = PROCESS_FIELDS | {"P_mean": "p_mean", "P_std": "p_std"}


def process_of(precond, *arguments, **fields):
  """The process of an official preconditioner and its arguments."""
  for given in arguments:
    fields |= {LOSS_FIELDS[k]: v for k, v in given.items() if k in LOSS_FIELDS}
  return create_process(PROCESSES[precond], **fields)


def wrapped(case, precond):
  """The network inside an official preconditioner, and its parameters."""
  ctor = case.meta["ctor"]
  kind = ctor.get("model_type", "DhariwalUNet")
  model = network(kind, ctor, **case.meta.get("patch", {}))
  if precond == "iDDPMPrecond":  # whose network learns a variance too
    model = model.clone(learn_sigma=True)
  params = load_official(model, case.under("param"))

  def net(params, y, augment=None):
    def call(x, t):
      return model.apply({"params": params}, x, t, y, augment_labels=augment)

    return call

  return kind, net, params


@cases("edm/precond_*.npz")
def test_preconditioning(case):
  given, out, mid = (case.under(k) for k in ("in", "out", "mid"))
  precond = case.meta["class"]
  settings = {}
  if "param/u" in case.names:
    settings["u"] = tuple(case.arrays["param/u"].tolist())
  process = process_of(precond, case.meta["ctor"], **settings)
  _, net, params = wrapped(case, precond)
  x, sigma = nhwc(given["x"]), jnp.asarray(given["sigma"], jnp.float32)
  augment = given.get("augment_labels")
  limit = tolerance(case, "edm/precond", "out")
  level_limit = tolerance(case, "edm/precond", "sigma")

  @fast_compile_jit
  def run(params, y, sigma):
    seen = {}

    def watched(x, t):
      seen["net_input"], seen["c_noise"] = x, t
      seen["F"] = net(params, y, augment)(x, t)
      return seen["F"]

    return process.denoiser(watched)(x, sigma), seen

  y = given.get("class_labels")
  denoised, seen = run(params, y, sigma)
  figures = case.meta["rows_rel_l2_of_the_literal_float32_reference"]
  for got, expected, figure in zip(
    denoised, nhwc(out["D"]), figures, strict=True
  ):
    assert relative(got, expected) < max(limit, 3 * figure)
  for name in ("net_input", "F"):
    assert relative(seen[name], nhwc(mid[name])) < limit
  np.testing.assert_allclose(
    seen["c_noise"],
    mid["c_noise"],
    rtol=tolerance(case, "edm/precond", "time"),
  )
  if "D_scalar_sigma" in out:
    same = jnp.full_like(sigma, sigma[2])
    got = run(params, y, same)[0]
    assert relative(got, nhwc(out["D_scalar_sigma"])) < limit
  if "D_class_labels_none" in out:
    got = run(params, np.zeros_like(y), sigma)[0]
    assert relative(got, nhwc(out["D_class_labels_none"])) < limit

  low, high = process.sigma_range
  if precond == "VPPrecond":  # the official lowest level has lost digits
    exponent = process.beta_d * process.epsilon_t**2 / 2
    exponent += process.beta_min * process.epsilon_t
    assert low == pytest.approx(math.sqrt(math.expm1(exponent)), rel=1e-9)
    np.testing.assert_allclose(process.sigma(given["t"]), out["sigma_of_t"])
    inverse = process.time(given["sigma_query"])
    np.testing.assert_allclose(inverse, out["sigma_inv"], rtol=level_limit)
  else:
    assert low == pytest.approx(float(out["sigma_min"]), rel=level_limit)
  if "sigma_max" in out:
    assert high == pytest.approx(float(out["sigma_max"]), rel=level_limit)
  if precond == "iDDPMPrecond":
    query = given["sigma_query"]
    np.testing.assert_array_equal(process.index(query), out["round_index"])
    np.testing.assert_allclose(process.round_sigma(query), out["round_sigma"])
  known = jnp.clip(sigma, low, None)
  times = process.coefficients(known).c_noise
  back = process.sigma_of(times)
  inverse_limit = tolerance(case, "edm/precond", "inverse")
  assert relative(back, process.round_sigma(known)) < inverse_limit


@cases("edm/loss_*.npz")
def test_losses(case):
  given, out, meta = case.under("in"), case.under("out"), case.meta
  process = process_of(meta["precond"], meta["ctor"], meta["loss_ctor"])
  kind, net, params = wrapped(case, meta["precond"])
  sigma = process.sigma_at(jnp.asarray(given["rnd"]).ravel())
  np.testing.assert_allclose(
    sigma, out["sigma"].ravel(), rtol=tolerance(case, "edm/loss", "sigma")
  )
  images = nhwc(given.get("images_augmented", given["images"]))
  y, augment = given.get("class_labels"), given.get("augment_labels")

  @fast_compile_jit
  def run(params):
    def loss(params):
      model = net(params, y, augment)
      each, _ = process.loss_at(model, images, sigma, nhwc(given["noise"]))
      return each.sum() * meta["loss_scaling"] / len(images), each

    return jax.grad(loss, has_aux=True)(params)

  grads, each = run(params)
  limit = tolerance(case, "edm/loss", "loss")
  assert relative(each, out["loss"].sum((1, 2, 3))) < limit
  assert relative(each.sum(), out["loss_sum"]) < limit
  grads = official(kind, grads)
  limit = tolerance(case, "edm/loss", "grad")
  for name, expected in case.under("grad").items():
    assert relative(grads[name.removeprefix("model.")], expected) < limit, name
  norms = out["grad_l2"]
  for name, expected in zip(meta["param_order"], norms, strict=True):
    got = np.linalg.norm(grads[name.removeprefix("model.")])
    floor = float(1e-6 * norms.max())
    assert got == pytest.approx(expected, rel=limit, abs=floor), name


@cases("edm/sampler_net*.npz")
def test_sampling(case):
  given = case.under("in")
  process = process_of(case.meta["net"], case.meta["ctor"])
  _, net, params = wrapped(case, case.meta["net"])
  samplers = {}
  for run, fields in case.meta["runs"].items():
    fields = {k.lower(): v for k, v in fields.items() if k != "fn"}
    samplers[run] = create_sampler("heun", process, **fields)
  model = net(params, given.get("class_labels"))
  noise = replay(given["latents"], given.get("noise", ()))
  shape = chw_to_hwc(given["latents"].shape)
  results = sample_together([*samplers.values()], model, noise, shape)
  for run, x in zip(samplers, results, strict=True):
    out = case.under(f"out/{run}")
    limit = tolerance(case, "edm/network_sampler", "x")
    assert relative(x, nhwc(out["x"])) < limit, run
    rtol = tolerance(case, "edm/network_sampler", "t_steps")
    np.testing.assert_allclose(samplers[run].sigmas, out["t_steps"], rtol=rtol)
    times = samplers[run].scheme.time
    np.testing.assert_allclose(times, out["call_sigma"], rtol=rtol)


@cases("edm/train_steps*.npz")
def test_training_steps(case):
  given, out = case.under("in"), case.under("out")
  recipe = case.meta["recipe"]
  rounds, batch = recipe["rounds"], recipe["batch_size"]
  precond = case.meta["precond"]
  process = process_of(precond, case.meta["ctor"])
  kind, net, params = wrapped(case, precond)
  images = jnp.asarray(nhwc(given["images_uint8"]) / 127.5 - 1)
  noise = jnp.asarray(nhwc(given["noise"]))
  labels = given.get("class_labels")
  labels = None if labels is None else jnp.asarray(labels)
  sigma = process.sigma_at(jnp.asarray(given["rnd"])[..., 0, 0, 0])
  # The rate is raised by images seen before the step, and so begins with 0.
  ramp = recipe["lr_rampup_nimg"] / batch
  rate = optax.linear_schedule(0.0, recipe["lr"], ramp)
  optimizer = optax.adam(rate)
  decay = half_life(
    recipe["ema_halflife_nimg"], batch, recipe["ema_rampup_ratio"]
  )

  @functools.partial(fast_compile_jit, static_argnums=4)
  def step(params, ema, state, i, rounds):
    def loss(params, j):
      model = net(params, None if labels is None else labels[j])
      each, _ = process.loss_at(model, images[j], sigma[j], noise[j])
      return each.sum() * recipe["loss_scaling"] / batch, each.sum()

    def add(total, j):
      grads, value = jax.grad(loss, has_aux=True)(params, j)
      return jax.tree.map(jnp.add, total, grads), value

    zeros = jax.tree.map(jnp.zeros_like, params)
    micro = i * rounds + jnp.arange(rounds)
    grads, losses = jax.lax.scan(add, zeros, micro)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, ema, 1 - decay(i))
    return params, ema, state, losses

  limits = {
    name: tolerance(case, "edm/train", name)
    for name in ("param", "change", "lr", "norm")
  }
  start = official(kind, params)
  state = fast_compile_jit(optimizer.init)(params)
  ema, losses = params, []
  snapshots = set()
  for i in range(recipe["steps"]):
    assert float(rate(i)) == pytest.approx(out["lr"][i], rel=limits["lr"])
    beta = float(decay(jnp.asarray(i)))
    assert beta == pytest.approx(
      out["ema_beta"][i], rel=limits["param"], abs=1e-12
    )
    params, ema, state, values = step(params, ema, state, i, rounds)
    losses.extend(values)
    for name, tree in {"param": params, "ema": ema}.items():
      tree = official(kind, tree)
      for key, expected in case.under(f"out/step{i}/{name}").items():
        snapshots.add(i)
        key = key.removeprefix("model.")
        np.testing.assert_allclose(
          tree[key], expected, rtol=limits["param"], atol=1e-7
        )
        if np.any(expected != start[key]):
          change = tree[key] - start[key]
          error = relative(change, expected - start[key])
          assert error < limits["change"], key
  assert snapshots == set(case.meta["snap"])
  np.testing.assert_allclose(losses, out["loss_sum"], rtol=limits["param"])
  for name, tree in {"param": params, "ema": ema}.items():
    tree = official(kind, tree)
    norms = out[f"final_{name}_l2"]
    for key, expected in zip(case.meta["param_order"], norms, strict=True):
      # Softmax cancels the keys' bias; Adam makes steps of the rounding.
      if not key.endswith("qkv.bias"):
        got = np.linalg.norm(tree[key.removeprefix("model.")])
        assert got == pytest.approx(expected, rel=limits["norm"], abs=1e-6), key
