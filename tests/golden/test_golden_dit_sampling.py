"""DiT trained and sampled for a few steps against the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden_numbers import nhwc, quick_jit, relative, replay

from get_jax.diffusion import Guidance, create_process, create_sampler
from get_jax.interop.official import export_official, load_official
from get_jax.models import create_model


def case(golden, name):
  data = golden(f"dit/{name}")
  fields = dict(data.meta["cfg"])
  fields["null_class"] = fields.pop("class_dropout_prob") > 0
  model = create_model("DiT", **fields)
  params = load_official(model, data.under("param"))

  def net(params):
    return lambda x, t, y: model.apply({"params": params}, x, t, y)

  return data, model, params, net


def test_guidance(golden):
  data, model, params, net = case(golden, "dit_cfg")
  given, out = data.under("in"), data.under("out")
  half = len(given["x"]) // 2
  x, t, y = (jnp.asarray(given[k])[:half] for k in "xty")
  net = quick_jit(net(params))
  for name, channels in {"out": 3, "all_channels": None}.items():
    guidance = Guidance(float(given["cfg_scale"]), channels)
    got = guidance(net, y, model.num_classes)(nhwc(x), t)
    assert relative(got, nhwc(out[name])[:half]) < 2e-5


def stabilised(net):
  """Keeps the states of a random network of order one, as the case says."""

  def call(x, t):
    u = ((t + 1) / 1000)[:, None, None, None]
    s = jnp.sqrt(-jnp.expm1(-(9.95 * u**2 + 0.1 * u)))
    noise, variance = jnp.split(0.3 * net(x, t), 2, axis=-1)
    return jnp.concatenate([s * x + noise, variance], axis=-1)

  return call


@pytest.mark.parametrize("guided", ["cfg", "nocfg"])
def test_trajectories(golden, guided):
  data, model, params, net = case(golden, "trajectory_dit")
  given, out = data.under("in"), data.under("out")
  y, count = jnp.asarray(given["y"]), len(given["y"])
  scale = float(given["cfg_scale"]) if guided == "cfg" else 1.0
  guidance = Guidance(scale, channels=3)
  raw = guidance(net(params), y, model.num_classes)
  steady = stabilised(raw)
  noise = replay(given["z"], given["noise"])
  process = create_process("adm")
  for word, spacing in {
    "ddpm": data.meta["respacing"],
    "ddim": data.meta["ddim_respacing"],
  }.items():
    sampler = create_sampler(word, process, num_steps=spacing)
    times = sampler.respaced.tables.timesteps
    name = "timestep_map" if word == "ddpm" else "ddim_timestep_map"
    np.testing.assert_array_equal(times, out[name])

    def run(net, sampler=sampler):
      return sampler(net, noise, (8, 8, 4), trajectory=True)[1][1:]

    expected = nhwc(out[f"{word}_{guided}/samples"])[:, :count]
    assert relative(quick_jit(lambda r=run: r(steady))(), expected) < 2e-5
    if word == "ddpm":
      final = quick_jit(lambda r=run: r(raw))()[-1]
      expected = nhwc(out[f"raw_ddpm_{guided}/final"])[:count]
      assert relative(final, expected) < 2e-5


def test_training_steps(golden):
  data, model, params, net = case(golden, "train_steps")
  given, out = data.under("in"), data.under("out")
  process = create_process("adm")
  optimizer = optax.adam(data.meta["lr"])

  @quick_jit
  def step(params, ema, state, batch):
    def loss(params):
      x0, noise, t, y = batch
      each, terms = process.loss_at(
        lambda x, t: net(params)(x, t, y), x0, t, noise
      )
      return each.mean(), terms

    (value, terms), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    ema = optax.incremental_update(params, ema, 1 - data.meta["ema_decay"])
    return params, ema, state, value, terms

  start, ema, state = params, params, optimizer.init(params)
  images, noise = nhwc(given["x_start"]), nhwc(given["noise"])
  for i in range(len(images)):
    batch = images[i], noise[i], *(jnp.asarray(given[k])[i] for k in "ty")
    params, ema, state, value, terms = step(params, ema, state, batch)
    np.testing.assert_allclose(value, out["loss"][i], rtol=1e-5)
    np.testing.assert_allclose(terms["mse"], out["mse"][i], rtol=1e-5)
    np.testing.assert_allclose(terms["vb"], out["vb"][i], rtol=1e-4)
  before = export_official(model, start)
  for name, tree in {"param_after": params, "ema_after": ema}.items():
    ours = export_official(model, tree)
    for key, expected in data.under(f"out/{name}").items():
      change = expected - before[key]
      assert relative(ours[key] - before[key], change) < 2e-3, key
