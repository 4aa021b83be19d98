"""DiT guided and sampled against the official code."""

import jax.numpy as jnp
import numpy as np
from cases import cases, each
from dit_cases import dit
from golden_numbers import (
  chw_to_hwc,
  fast_compile_jit,
  nhwc,
  relative,
  replay,
)
from tolerances import tolerance

from get_jax.diffusion import Guidance, create_process, create_sampler

# The official guidance reaches three channels, whatever their number.
OFFICIAL_CHANNELS = 3


def conditional(model, params):
  return lambda x, t, y: model.apply({"params": params}, x, t, y)


@cases("dit/dit_cfg*.npz")
def test_guidance(case):
  model, params = dit(case)
  given, out = case.under("in"), case.under("out")
  limit = tolerance(case, "dit/cfg")
  half = len(given["x"]) // 2
  x, y = (jnp.asarray(given[k]) for k in "xy")
  t = jnp.asarray(given["t"], jnp.float32)
  first = jnp.asarray(nhwc(x)[:half])
  net = fast_compile_jit(conditional(model, params))
  plain = net(jnp.concatenate([first, first]), t, y)
  assert relative(plain, nhwc(out["cond_uncond"])) <= limit
  for name, channels in {
    "out": OFFICIAL_CHANNELS,
    "all_channels": None,
  }.items():
    guidance = Guidance(float(given["cfg_scale"]), channels)
    got = guidance(net, y[:half], model.num_classes)(first, t[:half])
    if name in out:
      assert relative(got, nhwc(out[name])[:half]) <= limit, name


def stabilised(net):
  """Keeps the states of a random network of order one, as `meta` says."""

  def call(x, t):
    u = ((t + 1) / 1000)[:, None, None, None]
    s = jnp.sqrt(-jnp.expm1(-(9.95 * u**2 + 0.1 * u)))
    noise, variance = jnp.split(0.3 * net(x, t), 2, axis=-1)
    return jnp.concatenate([s * x + noise, variance], axis=-1)

  return call


@each("dit/trajectory_dit*.npz", lambda case: case.groups("out"))
def test_trajectories(case, name):
  model, params = dit(case)
  given, out = case.under("in"), case.under(f"out/{name}")
  *raw, method, guided = name.split("_")
  y = jnp.asarray(given["y"])
  scale = float(given["cfg_scale"]) if guided == "cfg" else 1.0
  guidance = Guidance(scale, channels=OFFICIAL_CHANNELS)
  net = guidance(conditional(model, params), y, model.num_classes)
  net = net if raw else stabilised(net)
  prefix = "" if method == "ddpm" else f"{method}_"
  sampler = create_sampler(
    method, create_process("adm"), num_steps=case.meta[f"{prefix}respacing"]
  )
  times = sampler.respaced.tables.timesteps
  np.testing.assert_array_equal(times, case.arrays[f"out/{prefix}timestep_map"])
  noise = replay(given["z"], given["noise"])
  shape = chw_to_hwc(given["z"].shape)
  states = fast_compile_jit(
    lambda: sampler(net, noise, shape, trajectory=True)[1][1:]
  )()
  limit = tolerance(case, "dit/trajectory")
  if "samples" in out:
    expected = nhwc(out["samples"])[:, : len(y)]
    assert relative(states, expected) < limit
  if "final" in out:
    assert relative(states[-1], nhwc(out["final"])[: len(y)]) < limit
  assert {"samples", "final"} & out.keys()
