"""Continuous processes and their samplers against U-ViT's official code."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import (
  fast_compile_jit,
  nhwc,
  relative,
  replay,
  sample_together,
)

from get_jax.diffusion import create_process, create_sampler

SPACING = {"time_uniform": "time", "logSNR": "lambda"}


def fake_network(x, time):
  wave = 0.5 * jnp.cos(0.01 * time)[:, None, None, None]
  return 0.3 * x + wave * jnp.tanh(x)


def test_losses(golden):
  data = golden("uvit/loss_simple")
  given, out = data.under("in"), data.under("out")
  x0, noise = nhwc(given["x0"]), nhwc(given["eps"])
  t = jnp.asarray(given["t"], jnp.float32)
  words = {"noise_pred": "noise", "x0_pred": "data"}
  for theirs, prediction in words.items():
    for on, target in words.items():
      process = create_process("vp", prediction=prediction, target=target)
      x = nhwc(data.arrays["mid/vp_xt"])

      @fast_compile_jit
      def run(process=process, x=x):
        loss, _ = process.loss_at(fake_network, x0, t, noise)
        return loss, process.score(fake_network)(x, t)

      got, score = run()
      assert relative(got, out[f"vp_model_{theirs}_loss_{on}"]) < 1e-5
      assert relative(score, nhwc(out[f"vp_model_{theirs}_score"])) < 1e-5
  np.testing.assert_allclose(
    process.network_time(t), data.arrays["mid/vp_net_time"], rtol=1e-6
  )
  process = create_process("stable_diffusion")
  n = jnp.asarray(given["n"])
  got, _ = process.loss_at(fake_network, x0, n - 1, noise)
  assert relative(got, out["discrete_loss"]) < 1e-5
  x = process.q_sample(x0, n - 1, noise)
  assert relative(x, nhwc(data.arrays["mid/discrete_xn"])) < 1e-5
  np.testing.assert_array_equal(process.network_timestep(n - 1), n)
  np.testing.assert_allclose(process.network_time(n / 1000), n, rtol=1e-6)


@pytest.mark.parametrize("xp, rtol", [(np, 1e-9), (jnp, 1e-5)])
def test_sde(golden, xp, rtol):
  data = golden("uvit/vpsde_values")
  given = data.under("in")
  dtype = np.float64 if xp is np else np.float32
  t = given["t"].astype(dtype)
  pairs = given["pairs"].T
  for name, words in {"vp": "linear", "cos": "cosine"}.items():
    schedule = create_process("vp", beta_schedule=words).schedule
    inner = t > 0

    def values(t, inner, schedule=schedule):
      return (
        schedule.alpha(t, xp),
        schedule.sigma(t, xp),
        schedule.beta(t, xp),
        schedule.lam(inner, xp),
      )

    values = fast_compile_jit(values) if xp is jnp else values
    alpha, sigma, beta, lam = map(np.asarray, values(t, t[inner]))
    got = {
      "cum_alpha": alpha**2,
      "cum_beta": sigma**2,
      "marginal_std": sigma,
      "diffusion": beta**0.5,
      "squared_diffusion": beta,
    }
    expected = data.under(f"out/{name}")
    for key, sign in {"snr": 2, "nsr": -2}.items():
      np.testing.assert_allclose(
        np.exp(sign * lam), expected[key][inner], rtol=rtol
      )
    for key, scale in {"drift": -beta / 2, "marginal_mean": alpha}.items():
      by_x = scale[:, None, None, None] * given["x"].astype(dtype)
      np.testing.assert_allclose(by_x, expected[key], rtol=rtol, atol=1e-9)
    if "skip_alpha" in expected and xp is np:
      start, end = schedule.log_alpha(pairs)
      integral = 2 * (start - end)
      got["squared_diffusion_integral"] = integral
      got["skip_alpha"] = np.exp(-integral)
      got["skip_beta"] = -np.expm1(-integral)
    for key, value in got.items():
      if key in expected:
        np.testing.assert_allclose(value, expected[key], rtol=rtol, atol=1e-12)


def test_stable_diffusion_schedule(golden):
  data = golden("uvit/sd_schedule")
  out = data.under("out")
  process = create_process("stable_diffusion")
  alpha_bar = np.append(1.0, process.tables.alpha_bar)
  betas = np.append(0.0, process.tables.betas)
  np.testing.assert_allclose(alpha_bar, out["cum_alphas"], rtol=1e-10)
  np.testing.assert_allclose(betas, out["betas"], rtol=1e-9)
  np.testing.assert_allclose(1 - alpha_bar, out["cum_betas"], rtol=1e-9)
  snr = alpha_bar[1:] / (1 - alpha_bar[1:])
  np.testing.assert_allclose(snr, out["snr_from_1"], rtol=1e-9)
  start, end = data.arrays["in/pairs"].T
  skip = alpha_bar[end] / alpha_bar[start]
  np.testing.assert_allclose(skip, out["skip_alphas"], rtol=1e-9)
  np.testing.assert_allclose(1 - skip, out["skip_betas"], rtol=1e-9, atol=1e-12)
  tilde = (1 - alpha_bar[start]) / (1 - alpha_bar[end]) * (1 - skip)
  np.testing.assert_allclose(tilde, out["tilde_beta"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("xp, rtol", [(np, 1e-7), (jnp, 1e-5)])
def test_noise_schedules(golden, xp, rtol):
  data = golden("uvit/noise_schedule_values")
  given = data.under("in")
  schedules = {
    "linear": create_process("vp").schedule,
    "cosine": create_process("vp", beta_schedule="cosine").schedule,
    "discrete": create_process("stable_diffusion").schedule,
  }
  dtype = np.float64 if xp is np else np.float32
  for name, schedule in schedules.items():
    expected = data.under(f"out/{name}")
    t = given["t"].astype(dtype)[: len(expected["lambda"])]
    lam = given["lambda_discrete" if name == "discrete" else "lambda"]

    def values(t, lam, schedule=schedule):
      return {
        "log_alpha": schedule.log_alpha(t, xp),
        "sigma": schedule.sigma(t, xp),
        "lambda": schedule.lam(t, xp),
        "inverse_lambda": schedule.time(lam, xp),
      }

    values = fast_compile_jit(values) if xp is jnp else values
    for key, value in values(t, lam.astype(dtype)).items():
      assert relative(value, expected[key]) < rtol, (name, key)
    assert schedule.t_first == pytest.approx(float(expected["T"]))


def toy_network(process, data):
  """The raw network that predicts the noise of the analytic data."""
  scalars, given = data.meta["toy_scalars"], data.under("in")
  schedule, scale = process.schedule, process.network_time(1.0)

  def net(x, time):
    t = (time / scale)[:, None, None, None]
    alpha, sigma = schedule.alpha(t, jnp), schedule.sigma(t, jnp)
    if scalars:
      m, sd = scalars["m"], scalars["sd"]
      v = alpha**2 * sd**2 + sigma**2
      return sigma * (x - alpha * m * jnp.tanh(alpha * m * x / v)) / v
    mu, sd = nhwc(given["toy_mu"]), nhwc(given["toy_sd"])
    return sigma * (x - alpha * mu) / (alpha**2 * sd**2 + sigma**2)

  return net


def sample(sampler, data, noise=()):
  start = replay(data.arrays["in/x_init"], noise)
  net = toy_network(sampler.process, data)
  run = fast_compile_jit(
    lambda: sampler(net, start, (3, 3, 2), trajectory=True)
  )
  return run()


def run_together(samplers, data, noise=()):
  net = toy_network(samplers[0].process, data)
  noise = replay(data.arrays["in/x_init"], noise)
  return sample_together(samplers, net, noise, (3, 3, 2))


@pytest.mark.parametrize("toy", ["gauss", "mix"])
def test_euler(golden, toy):
  data = golden(f"uvit/em_vp_{toy}")
  process = create_process("vp")
  words = {"sde": "euler_maruyama", "ode": "probability_flow"}
  for steps in data.meta["steps"]:
    noise = data.arrays[f"in/noise_{steps}"]
    samplers = {
      word: create_sampler(name, process, num_steps=steps)
      for word, name in words.items()
    }
    found = run_together([*samplers.values()], data, noise)
    for (word, sampler), x in zip(samplers.items(), found, strict=True):
      expected = data.arrays[f"out/{word}_{steps}"]
      assert relative(x, nhwc(expected)) < 2e-5
      trace = data.arrays.get(f"mid/{word}_{steps}_trace")
      if trace is not None:
        _, states = sample(sampler, data, noise)
        assert relative(states, nhwc(trace)) < 2e-5
        times = process.network_time(sampler.scheme.time)
        expected = data.arrays[f"mid/net_time_{steps}"]
        np.testing.assert_allclose(times, expected, rtol=1e-6)


def solver_settings(run, meta):
  """What a run's name says, as fields of our samplers."""
  prediction, rest = run.split("_", 1)
  settings = {"prediction": {"pp": "data", "eps": "noise"}[prediction]}
  kind, order, steps, rest = re.match(
    r"(fast|multi|single)(\d)_(\d+)_?(.*)", rest
  ).groups()
  settings |= {"order": int(order), "num_steps": int(steps)}
  settings["method"] = kind if kind == "fast" else f"{kind}step"
  spacing = meta["fast_skip_type"]
  for name in SPACING:
    if rest.startswith(name):
      spacing, rest = name, rest[len(name) + 1 :]
  settings["spacing"] = SPACING[spacing]
  if rest:
    settings["solver_type"] = rest
  return settings


@pytest.mark.parametrize("toy", ["gauss", "mix"])
@pytest.mark.parametrize(
  "schedule, process", [("sd", "stable_diffusion"), ("vp", "vp")]
)
def test_dpm_solver_pp(golden, toy, schedule, process):
  data = golden(f"uvit/dpm_pp_{schedule}_{toy}")
  process = create_process(process)
  expected, mid = data.under("out"), data.under("mid")
  samplers = {
    run: create_sampler(
      "dpm_solver++",
      process,
      t_last=data.meta["eps"],
      **solver_settings(run, data.meta),
    )
    for run in expected
  }
  for prediction in ("data", "noise"):
    group = [r for r in samplers if samplers[r].prediction == prediction]
    found = run_together([samplers[run] for run in group], data)
    for run, x in zip(group, found, strict=True):
      assert relative(x, nhwc(expected[run])) < 2e-5, run
      if f"{run}_call_t" in mid:
        times = samplers[run].scheme.time
        np.testing.assert_allclose(times, mid[f"{run}_call_t"], rtol=1e-6)
  run = "pp_fast3_10"
  x, states = sample(samplers[run], data)
  assert relative(x, nhwc(expected[run])) < 2e-5
  begins = np.flatnonzero(samplers[run].scheme.starts_step)
  shown = nhwc(mid[f"{run}_call_x"])[begins]
  assert relative(states[:-1], shown) < 2e-5
  run = "pp_multi2_10_time_uniform_dpm_solver"
  _, states = sample(samplers[run], data)
  assert relative(states, nhwc(mid[f"{run}_trace"])) < 2e-5
  times = samplers[run].scheme.time
  np.testing.assert_allclose(times, mid[f"{run}_t"][:-1], rtol=1e-6)


@pytest.mark.parametrize("toy", ["gauss", "mix"])
def test_dpm_solver(golden, toy):
  data = golden(f"uvit/dpm_solver_vp_{toy}")
  process = create_process("vp")
  expected, mid = data.under("out"), data.under("mid")
  expected.pop("adaptive_3")
  samplers = []
  for run in expected:
    kind, steps, *rest = run.split("_", 3)
    settings = {"method": "fast", "num_steps": int(steps)}
    if kind == "fixed":
      order, skip = rest
      settings |= {"method": "singlestep", "order": int(order)}
      settings["spacing"] = SPACING[skip]
    sampler = create_sampler("dpm_solver", process, **settings)
    samplers.append(sampler)
    assert sampler.evaluations == int(steps)
    times, begins = sampler.scheme.time, sampler.scheme.starts_step
    if kind == "fast":
      np.testing.assert_allclose(times, mid[f"{run}_call_t"], rtol=1e-6)
      orders = np.diff(np.flatnonzero(np.append(begins, True)))
      np.testing.assert_array_equal(orders, mid[f"{run}_orders"])
      np.testing.assert_allclose(times[begins], mid[f"{run}_t"][:-1], rtol=1e-6)
  found = run_together(samplers, data)
  for run, x in zip(expected, found, strict=True):
    assert relative(x, nhwc(expected[run])) < 2e-5, run
  sampler = samplers[list(expected).index("fast_10")]
  x, states = sample(sampler, data)
  assert relative(x, nhwc(expected["fast_10"])) < 2e-5
  shown = nhwc(mid["fast_10_call_x"])[
    np.flatnonzero(sampler.scheme.starts_step)
  ]
  assert relative(states[:-1], shown) < 2e-5


@pytest.mark.parametrize("toy", ["gauss", "mix"])
def test_adaptive_dpm_solver(golden, toy):
  data = golden(f"uvit/dpm_solver_vp_{toy}")
  sampler = create_sampler(
    "dpm_solver_adaptive", create_process("vp"), shared_step=True
  )
  noise = replay(data.arrays["in/x_init"])
  net = toy_network(sampler.process, data)
  x, evaluations = fast_compile_jit(
    lambda: sampler.solve(net, noise, (3, 3, 2))
  )()
  assert relative(x, nhwc(data.arrays["out/adaptive_3"])) < 1e-2
  # The first, tiny steps have errors of rounding size, which shift the rest.
  assert abs(evaluations - data.arrays["mid/adaptive_3_nfe_calls"]) <= 6
