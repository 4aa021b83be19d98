"""Properties of all samplers: evaluations, previews, invalid combinations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fast_compile import fast_compile_jit

from get_jax.diffusion import (
  Guidance,
  Preview,
  create_process,
  create_sampler,
)
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.samplers import SAMPLERS
from get_jax.errors import UsageError

EDM, VP = create_process("edm"), create_process("vp")
FLOW = create_process("flow_matching")
ADM, SD = create_process("adm"), create_process("stable_diffusion")
NOISE = SampleNoise.create(jax.random.key(0), np.arange(4))
SHAPE = (2, 2, 3)

COUNTS = [
  ("heun", EDM, {"num_steps": 18}, 35),
  ("heun", EDM, {"num_steps": 18, "solver": "euler"}, 18),
  ("ddpm", ADM, {}, 250),
  ("ddpm", SD, {"num_steps": "ddim25"}, 25),
  ("ddim", ADM, {}, 50),
  ("ddim", ADM, {"num_steps": "10,20,30"}, 60),
  ("euler_maruyama", VP, {"num_steps": 30}, 30),
  ("probability_flow", VP, {"num_steps": 30}, 30),
  ("dpm_solver", VP, {}, 50),
  ("dpm_solver", ADM, {"num_steps": 15}, 15),
  ("dpm_solver", VP, {"num_steps": 20, "method": "singlestep"}, 18),
  ("dpm_solver++", SD, {"num_steps": 16, "order": 2}, 16),
  ("dpm_solver++", SD, {"num_steps": 12, "method": "multistep"}, 12),
  ("euler_grid", EDM, {}, 1),
  ("euler_grid", VP, {"num_steps": 4}, 4),
  ("euler_grid", ADM, {"num_steps": 8}, 8),
  ("flow_ode", FLOW, {"num_steps": 10, "solver": "heun"}, 20),
  ("flow_sde", FLOW, {"num_steps": 10}, 10),
  ("consistency", create_process("consistency"), {}, 1),
  ("mean_flow", create_process("mean_flow"), {"num_steps": 2}, 2),
  ("improved_mean_flow", create_process("mean_flow"), {}, 1),
  ("consistency", EDM, {"num_steps": 2, "sigmas": (0.8,)}, 2),
]


def network(x, t, **scalars):
  """An arbitrary network; without scalars, with outputs for a variance."""
  out = jnp.tanh(x) + 0.1 * jnp.tanh(t)[:, None, None, None]
  return out if scalars else jnp.concatenate([out, 0.1 * out], axis=-1)


@pytest.mark.parametrize("name, process, settings, count", COUNTS)
def test_number_of_evaluations(name, process, settings, count):
  sampler = create_sampler(name, process, **settings)
  assert sampler.evaluations == count
  if count > 60:
    return
  calls = []

  def counting(x, t, **scalars):
    jax.debug.callback(lambda t: calls.append(float(t)), t[0])
    return network(x, t, **scalars)

  run = fast_compile_jit(lambda noise: sampler(counting, noise, SHAPE))
  x = run(NOISE).block_until_ready()
  jax.effects_barrier()
  assert x.shape == (4, *SHAPE) and x.dtype == jnp.float32
  assert np.isfinite(x).all() and len(calls) == count


@pytest.mark.parametrize(
  "name, process, settings",
  [
    ("heun", EDM, {"num_steps": 6, "s_churn": 3.0}),
    ("ddpm", ADM, {"num_steps": 6}),
    ("ddim", ADM, {"num_steps": 6, "eta": 0.5}),
    ("dpm_solver++", SD, {"num_steps": 6}),
    ("flow_sde", FLOW, {"num_steps": 6, "last_step": "none"}),
  ],
)
def test_trajectory_and_previews(name, process, settings):
  sampler = create_sampler(name, process, **settings)
  seen = {}

  def show(step, x):
    seen[int(step)] = np.array(x)

  preview = Preview(show, every=2)

  @fast_compile_jit
  def run(noise):
    return sampler(network, noise, SHAPE, trajectory=True, preview=preview)

  x, states = run(NOISE)
  jax.effects_barrier()
  begins = len(states) - 1
  np.testing.assert_array_equal(states[-1], x)
  assert begins == (3 if "solver" in name else 6)
  assert sorted(seen) == list(range(0, begins, 2))
  assert all(image.shape == x.shape for image in seen.values())
  # Samples do not depend on previews, trajectories or the batch.
  part = fast_compile_jit(lambda noise: sampler(network, noise, SHAPE))
  alone = part(SampleNoise(NOISE.keys[1:3]))
  np.testing.assert_allclose(alone, x[1:3], rtol=1e-5, atol=1e-6)


def test_a_guided_sampler_is_compiled_once_and_traces_the_network_once():
  traces = []

  def net(x, t, y):
    traces.append(x.shape)
    return network(x, t) * (1 + 0.1 * y[:, None, None, None])

  sampler = create_sampler("ddpm", ADM, num_steps=250)
  guidance = Guidance(scale=4.0, channels=3)

  @fast_compile_jit
  def sample(noise, y):
    return sampler(guidance(net, y, 10), noise, SHAPE)

  x = sample(NOISE, jnp.arange(4))
  again = sample(NOISE, jnp.arange(4) + 1)
  assert traces == [(8, *SHAPE)]
  assert sample._cache_size() == 1
  assert np.isfinite(x).all() and not np.array_equal(x, again)


def test_samples_do_not_depend_on_the_mesh():
  sampler = create_sampler("ddpm", ADM, num_steps=5)
  guidance = Guidance(scale=3.0, channels=2)

  def sample(noise, y):
    def net(x, t, y):
      return network(x, t) * (1 + 0.1 * y[:, None, None, None])

    return sampler(guidance(net, y, 8), noise, SHAPE)

  mesh = jax.make_mesh((8,), ("data",), axis_types=(_AUTO,))
  split = jax.NamedSharding(mesh, jax.P("data"))
  inputs = SampleNoise.create(jax.random.key(0), np.arange(8)), jnp.arange(8)
  spread = fast_compile_jit(sample, in_shardings=split, out_shardings=split)
  compiled = spread.lower(*inputs).compile()
  # The two inputs of a guided sample are on the same device.
  for collective in ("all-gather", "all-to-all", "permute", "all-reduce"):
    assert collective not in compiled.as_text()
  expected = fast_compile_jit(sample)(*inputs)
  found = compiled(*jax.device_put(inputs, split))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


_AUTO = jax.sharding.AxisType.Auto

WRONG = [
  (
    lambda: create_sampler("euler_maruyama", ADM),
    "EulerMaruyama needs the continuous process vp, and not a discrete",
  ),
  (
    lambda: create_sampler("heun", VP),
    "Heun needs an EDM process .*, and not the continuous process vp",
  ),
  (
    lambda: create_sampler("ddim", EDM),
    "DDIM needs a discrete process .adm or stable_diffusion.",
  ),
  (
    lambda: create_sampler("dpm_solver", EDM),
    "DPMSolver needs a process with a noise schedule",
  ),
  (lambda: create_sampler("ddpm", ADM, num_steps=1), "at least 2 steps"),
  (
    lambda: create_sampler("ddpm", ADM, num_steps=1001),
    "asks for 1001 of 1000 timesteps",
  ),
  (
    lambda: create_sampler("ddim", ADM, num_steps="ddim51"),
    "no whole stride through 1000 timesteps gives 51",
  ),
  (
    lambda: create_sampler("ddim", ADM, num_steps="fast"),
    "spacing 'fast' is none of N, 'ddimN' and 'a,b,c'",
  ),
  (
    lambda: create_process("adm", spacing=(1, 1)),
    "not distinct",
  ),
  (
    lambda: create_process("adm", spacing=(5, 1000)),
    "has no timestep 1000",
  ),
  (
    lambda: create_sampler("dpm_solver", VP, num_steps=2),
    "of order 3 needs num_steps of at least 3, not 2",
  ),
  (
    lambda: create_sampler("dpm_solver", VP, method="multi"),
    "method is 'multi': did you mean 'multistep'",
  ),
  (
    lambda: create_sampler("euler_maruyama", VP, num_steps=1),
    "at least 2, not 1",
  ),
  (
    lambda: create_sampler("dpm_solver_adaptive", VP)(
      network, NOISE, SHAPE, trajectory=True
    ),
    "neither a trajectory nor previews",
  ),
]


@pytest.mark.parametrize("make, sentence", WRONG)
def test_wrong_combinations_are_one_sentence(make, sentence, unchecked_types):
  with pytest.raises(UsageError, match=sentence) as caught:
    make()
  assert "\n" not in str(caught.value)


def test_every_sampler_is_tested():
  tested = {name for name, *_ in COUNTS} | {"dpm_solver_adaptive"}
  tested |= {"mean_flow", "improved_mean_flow"}  # See test_mean_flow.
  assert tested == set(SAMPLERS)
