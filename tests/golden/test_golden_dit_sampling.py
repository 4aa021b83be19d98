"""DiT guided and sampled against the official code."""

import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import fast_compile_jit, nhwc, relative, replay

from get_jax.diffusion import Guidance, create_process, create_sampler
from get_jax.interop.official import load_official
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
  net = fast_compile_jit(net(params))
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
    assert (
      relative(fast_compile_jit(lambda r=run: r(steady))(), expected) < 2e-5
    )
    if word == "ddpm":
      final = fast_compile_jit(lambda r=run: r(raw))()[-1]
      expected = nhwc(out[f"raw_ddpm_{guided}/final"])[:count]
      assert relative(final, expected) < 2e-5
