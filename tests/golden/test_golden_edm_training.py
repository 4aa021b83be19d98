"""EDM's preconditioning, losses, sampling and training of a tiny network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden_numbers import (
  fast_compile_jit,
  nhwc,
  relative,
  replay,
  sample_together,
)
from test_golden_edm_networks import network, official

from get_jax.diffusion import create_process, create_sampler
from get_jax.interop.official import load_official
from get_jax.training.ema import half_life

PROCESSES = {"edm": "edm", "vp": "edm_vp", "ve": "edm_ve"}
PROCESSES["iddpm"] = "edm_iddpm"


def wrapped(data, kind="SongUNet"):
  """The network inside an official preconditioner, and its parameters."""
  ctor = data.meta["ctor"]
  model = network(kind, ctor, **data.meta.get("patch", {}))
  if kind == "DhariwalUNet":  # iDDPM's, which learns a variance too
    model = model.clone(learn_sigma=True)
  params = load_official(model, data.under("param"))

  def net(params, y, told=None):
    def call(x, t):
      return model.apply({"params": params}, x, t, y, augment_labels=told)

    return call

  return net, params


@pytest.mark.parametrize("word", PROCESSES)
def test_preconditioning(golden, word):
  data = golden(f"edm/precond_{word}")
  given, out, mid = (data.under(k) for k in ("in", "out", "mid"))
  settings = {}
  if word == "iddpm":
    settings["u"] = tuple(data.arrays["param/u"].tolist())
  process = create_process(PROCESSES[word], **settings)
  kind = "DhariwalUNet" if word == "iddpm" else "SongUNet"
  net, params = wrapped(data, kind)
  x, sigma = nhwc(given["x"]), jnp.asarray(given["sigma"], jnp.float32)
  told = given.get("augment_labels")

  @fast_compile_jit
  def run(params, y, sigma):
    seen = {}

    def watched(x, t):
      seen["net_input"], seen["c_noise"] = x, t
      seen["F"] = net(params, y, told)(x, t)
      return seen["F"]

    return process.denoiser(watched)(x, sigma), seen

  y = given.get("class_labels")
  denoised, seen = run(params, y, sigma)
  figures = data.meta["rows_rel_l2_of_the_literal_float32_reference"]
  for got, expected, figure in zip(
    denoised, nhwc(out["D"]), figures, strict=True
  ):
    assert relative(got, expected) < max(2e-5, 3 * figure)
  for name in ("net_input", "F"):
    assert relative(seen[name], nhwc(mid[name])) < 2e-5
  np.testing.assert_allclose(seen["c_noise"], mid["c_noise"], rtol=1e-5)
  same = jnp.full_like(sigma, sigma[2])
  assert relative(run(params, y, same)[0], nhwc(out["D_scalar_sigma"])) < 2e-5
  if y is not None:
    denoised = run(params, np.zeros_like(y), sigma)[0]
    assert relative(denoised, nhwc(out["D_class_labels_none"])) < 2e-5

  low, high = process.sigma_range
  if word == "vp":  # the official lowest level has lost digits
    assert low == pytest.approx(0.00100050, rel=1e-5)
    np.testing.assert_allclose(process.sigma(given["t"]), out["sigma_of_t"])
    inverse = process.time(given["sigma_query"])
    np.testing.assert_allclose(inverse, out["sigma_inv"], rtol=1e-6)
  else:
    assert low == pytest.approx(float(out["sigma_min"]), rel=1e-6)
  if "sigma_max" in out:
    assert high == pytest.approx(float(out["sigma_max"]), rel=1e-6)
  if word == "iddpm":
    query = given["sigma_query"]
    np.testing.assert_array_equal(process.index(query), out["round_index"])
    np.testing.assert_allclose(process.round_sigma(query), out["round_sigma"])
  known = jnp.clip(sigma, low, None)
  times = process.coefficients(known).c_noise
  back = process.sigma_of(times)
  assert relative(back, process.round_sigma(known)) < 1e-4


@pytest.mark.parametrize("word", ["edm", "vp", "ve"])
def test_losses(golden, word):
  data = golden(f"edm/loss_{word}")
  given, out = data.under("in"), data.under("out")
  process = create_process(PROCESSES[word])
  net, params = wrapped(data)
  sigma = process.sigma_at(jnp.asarray(given["rnd"]).ravel())
  np.testing.assert_allclose(sigma, out["sigma"].ravel(), rtol=1e-5)
  images = nhwc(given.get("images_augmented", given["images"]))
  y, told = given.get("class_labels"), given.get("augment_labels")

  @fast_compile_jit
  def run(params):
    def loss(params):
      model = net(params, y, told)
      each, _ = process.loss_at(model, images, sigma, nhwc(given["noise"]))
      return each.sum() / len(images), each

    return jax.grad(loss, has_aux=True)(params)

  grads, each = run(params)
  assert relative(each, out["loss"].sum((1, 2, 3))) < 5e-5
  grads = official("SongUNet", grads)
  for name, expected in data.under("grad").items():
    assert relative(grads[name.removeprefix("model.")], expected) < 2e-4, name
  norms = out["grad_l2"]
  for name, expected in zip(data.meta["param_order"], norms, strict=True):
    got = np.linalg.norm(grads[name.removeprefix("model.")])
    floor = float(1e-6 * norms.max())
    assert got == pytest.approx(expected, rel=2e-4, abs=floor), name


def test_sampling(golden):
  data = golden("edm/sampler_net")
  given = data.under("in")
  process = create_process("edm")
  net, params = wrapped(data)
  samplers = {}
  for run, fields in data.meta["runs"].items():
    fields = {k.lower(): v for k, v in fields.items() if k != "fn"}
    samplers[run] = create_sampler("heun", process, **fields)
  model = net(params, given["class_labels"])
  noise = replay(given["latents"], given["noise"])
  found = sample_together([*samplers.values()], model, noise, (8, 8, 3))
  for run, x in zip(samplers, found, strict=True):
    out = data.under(f"out/{run}")
    assert relative(x, nhwc(out["x"])) < 1e-4, run
    times = samplers[run].scheme.time
    np.testing.assert_allclose(times, out["call_sigma"], rtol=1e-6)


def test_training_steps(golden):
  data = golden("edm/train_steps")
  given, out = data.under("in"), data.under("out")
  recipe = data.meta["recipe"]
  rounds, batch = recipe["rounds"], recipe["batch_size"]
  process = create_process("edm")
  net, params = wrapped(data)
  images = nhwc(given["images_uint8"]) / 127.5 - 1
  noise, labels = nhwc(given["noise"]), given["class_labels"]
  sigma = process.sigma_at(jnp.asarray(given["rnd"])[..., 0, 0, 0])
  # The rate is raised by images seen before the step, and so begins with 0.
  ramp = int(recipe["lr_rampup_nimg"] / batch)
  rate = optax.linear_schedule(0.0, recipe["lr"], ramp)
  optimizer = optax.adam(rate)
  decay = half_life(
    recipe["ema_halflife_nimg"], batch, recipe["ema_rampup_ratio"]
  )

  @functools.partial(fast_compile_jit, static_argnums=4)
  def step(params, ema, state, i, rounds):
    def loss(params, j):
      model = net(params, labels[j])
      each, _ = process.loss_at(model, images[j], sigma[j], noise[j])
      return each.sum() / batch, each.sum()

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

  images, noise, labels = map(jnp.asarray, (images, noise, labels))
  start = official("SongUNet", params)
  ema, state, losses = params, optimizer.init(params), []
  for i in range(recipe["steps"]):
    assert float(rate(i)) == pytest.approx(out["lr"][i], rel=1e-6)
    beta = float(decay(jnp.asarray(i)))
    assert beta == pytest.approx(out["ema_beta"][i], rel=1e-5, abs=1e-12)
    params, ema, state, values = step(params, ema, state, i, rounds)
    losses.extend(values)
    for kind, tree in {"param": params, "ema": ema}.items():
      tree = official("SongUNet", tree)
      for name, expected in data.under(f"out/step{i}/{kind}").items():
        name = name.removeprefix("model.")
        np.testing.assert_allclose(tree[name], expected, rtol=1e-5, atol=1e-7)
        if np.any(expected != start[name]):
          change = tree[name] - start[name]
          assert relative(change, expected - start[name]) < 1e-3, name
  np.testing.assert_allclose(losses, out["loss_sum"], rtol=1e-5)
  for kind, tree in {"param": params, "ema": ema}.items():
    tree = official("SongUNet", tree)
    norms = out[f"final_{kind}_l2"]
    for name, expected in zip(data.meta["param_order"], norms, strict=True):
      # Softmax cancels the keys' bias; Adam makes steps of the rounding.
      if not name.endswith("qkv.bias"):
        got = np.linalg.norm(tree[name.removeprefix("model.")])
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-6), name
