"""Continuous processes and their samplers against U-ViT's official code."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from cases import cases, each
from golden_numbers import (
  chw_to_hwc,
  fast_compile_jit,
  nhwc,
  official_process,
  relative,
  replay,
  sample_together,
)
from tolerances import tolerance

from get_jax.diffusion import create_sampler

SPACING = {"time_uniform": "time", "logSNR": "lambda"}


def fake_network(case):
  """The written-out network of `meta`."""
  label = 0.0
  if case.meta.get("with_y"):
    label = 0.1 * case.arrays["in/y"][:, None, None, None]

  def net(x, time):
    wave = 0.5 * jnp.cos(0.01 * time)[:, None, None, None]
    return 0.3 * x + wave * jnp.tanh(x) + label

  return net


@cases("uvit/loss_simple*.npz")
def test_losses(case):
  given, out, mid = (case.under(k) for k in ("in", "out", "mid"))
  net = fake_network(case)
  limit = tolerance(case, "uvit/losses", "out")
  time_limit = tolerance(case, "uvit/losses", "time")
  x0, noise = nhwc(given["x0"]), nhwc(given["eps"])
  t = jnp.asarray(given["t"], jnp.float32)
  x = nhwc(mid["vp_xt"])
  words = {"noise_pred": "noise", "x0_pred": "data"}
  for theirs, prediction in words.items():
    for on, target in words.items():
      process = official_process(
        "vp", case.meta["vpsde"], prediction=prediction, target=target
      )

      @fast_compile_jit
      def run(process=process):
        loss, _ = process.loss_at(net, x0, t, noise)
        return loss, process.score(net)(x, t)

      got, score = run()
      assert relative(got, out[f"vp_model_{theirs}_loss_{on}"]) < limit
      assert relative(score, nhwc(out[f"vp_model_{theirs}_score"])) < limit
  np.testing.assert_allclose(
    process.network_time(t), mid["vp_net_time"], rtol=time_limit
  )
  process = official_process("stable_diffusion", case.meta["schedule_args"])
  n = jnp.asarray(given["n"])
  got, _ = process.loss_at(net, x0, n - 1, noise)
  assert relative(got, out["discrete_loss"]) < limit
  x = process.q_sample(x0, n - 1, noise)
  assert relative(x, nhwc(mid["discrete_xn"])) < limit
  times = mid["discrete_net_time"]
  np.testing.assert_array_equal(process.network_timestep(n - 1), times)
  t = n / process.num_timesteps
  np.testing.assert_allclose(process.network_time(t), times, rtol=time_limit)


PRECISIONS = pytest.mark.parametrize(
  "xp, precision", [(np, "float64"), (jnp, "float32")]
)


def sde_values(schedule, t, x, xp):
  """The quantities of `vpsde_values` at times t > 0, in the dtype of t."""

  def run(t):
    return (
      schedule.alpha(t, xp),
      schedule.sigma(t, xp),
      schedule.beta(t, xp),
      schedule.lam(t, xp),
    )

  run = fast_compile_jit(run) if xp is jnp else run
  alpha, sigma, beta, lam = map(np.asarray, run(t))
  x = x.astype(t.dtype)
  return {
    "cum_alpha": alpha**2,
    "cum_beta": sigma**2,
    "marginal_std": sigma,
    "diffusion": beta**0.5,
    "squared_diffusion": beta,
    "snr": np.exp(2 * lam),
    "nsr": np.exp(-2 * lam),
    "drift": (-beta / 2)[:, None, None, None] * x,
    "marginal_mean": alpha[:, None, None, None] * x,
  }


@PRECISIONS
@cases("uvit/vpsde_values*.npz")
def test_sde(case, xp, precision):
  given = case.under("in")
  rtol = tolerance(case, "uvit/sde", precision)
  inner = given["t"] > 0
  t, x = given["t"][inner], given["x"][inner]
  atol = {"drift": 1e-9, "marginal_mean": 1e-9, "snr": 0.0, "nsr": 0.0}
  for name, arguments, words in (
    ("vp", case.meta["vpsde"], "linear"),
    ("cos", case.meta["cosine"], "cosine"),
  ):
    schedule = official_process("vp", arguments, beta_schedule=words).schedule
    expected = case.under(f"out/{name}")
    if xp is np:
      got, change = sde_values(schedule, t, x, np), {}
    else:
      rounded = t.astype(np.float32)
      got = sde_values(schedule, rounded, x, jnp)
      # What the rounding of t changes is no error of the schedule.
      exact = sde_values(schedule, t, x, np)
      change = sde_values(schedule, rounded.astype(np.float64), x, np)
      change = {key: value / exact[key] for key, value in change.items()}
    for key, value in got.items():
      if key in expected:
        np.testing.assert_allclose(
          value,
          expected[key][inner] * change.get(key, 1.0),
          rtol=rtol,
          atol=atol.get(key, 1e-12),
          err_msg=f"{name} {key}",
        )
    if "skip_alpha" in expected and xp is np:
      start, end = schedule.log_alpha(given["pairs"].T)
      integral = 2 * (start - end)
      for key, value in {
        "squared_diffusion_integral": integral,
        "skip_alpha": np.exp(-integral),
        "skip_beta": -np.expm1(-integral),
      }.items():
        np.testing.assert_allclose(value, expected[key], rtol=rtol, atol=1e-12)
    if not inner.all():
      assert np.all(schedule.alpha(given["t"][~inner]) == 1)
      assert np.all(schedule.sigma(given["t"][~inner]) == 0)


@cases("uvit/sd_schedule*.npz")
def test_stable_diffusion_schedule(case):
  out = case.under("out")
  process = official_process("stable_diffusion", case.meta["schedule_args"])
  rtol = tolerance(case, "uvit/discrete", "out")
  alpha_bar = np.append(1.0, process.tables.alpha_bar)
  betas = np.append(0.0, process.tables.betas)
  np.testing.assert_allclose(
    alpha_bar,
    out["cum_alphas"],
    rtol=tolerance(case, "uvit/discrete", "alpha_bar"),
  )
  np.testing.assert_allclose(betas, out["betas"], rtol=rtol)
  np.testing.assert_allclose(1 - alpha_bar, out["cum_betas"], rtol=rtol)
  snr = alpha_bar[1:] / (1 - alpha_bar[1:])
  np.testing.assert_allclose(snr, out["snr_from_1"], rtol=rtol)
  start, end = case.arrays["in/pairs"].T
  skip = alpha_bar[end] / alpha_bar[start]
  np.testing.assert_allclose(skip, out["skip_alphas"], rtol=rtol)
  np.testing.assert_allclose(1 - skip, out["skip_betas"], rtol=rtol, atol=1e-12)
  tilde = (1 - alpha_bar[start]) / (1 - alpha_bar[end]) * (1 - skip)
  np.testing.assert_allclose(tilde, out["tilde_beta"], rtol=rtol, atol=1e-12)


@PRECISIONS
@cases("uvit/noise_schedule_values*.npz")
def test_noise_schedules(case, xp, precision):
  given, meta = case.under("in"), case.meta
  rtol = tolerance(case, "uvit/schedule", precision)
  schedules = {
    "linear": official_process("vp", meta["linear"]).schedule,
    "cosine": official_process(
      "vp", meta.get("cosine"), beta_schedule="cosine"
    ).schedule,
    "discrete": official_process(
      "stable_diffusion", meta["sd_schedule_args"]
    ).schedule,
  }
  dtype = np.float64 if xp is np else np.float32
  for name, schedule in schedules.items():
    expected = case.under(f"out/{name}")
    t = given["t"].astype(dtype)
    if len(t) != len(expected["lambda"]):  # those before the truncation
      t = t[given["t"] <= expected["T"]]
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


def toy_network(process, case):
  """The raw network that predicts the noise of the analytic data."""
  scalars, given = case.meta["toy_scalars"], case.under("in")
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


def sample(sampler, case, noise=()):
  start = case.arrays["in/x_init"]
  net = toy_network(sampler.process, case)
  source, shape = replay(start, noise), chw_to_hwc(start.shape)
  run = fast_compile_jit(lambda: sampler(net, source, shape, trajectory=True))
  return run()


def run_together(samplers, case, noise=()):
  start = case.arrays["in/x_init"]
  net = toy_network(samplers[0].process, case)
  source, shape = replay(start, noise), chw_to_hwc(start.shape)
  return sample_together(samplers, net, source, shape)


def check_trajectory(case, run, sampler, noise=()):
  """Compares the states of a run, if the case has them."""
  limit = tolerance(case, "uvit/solver", "out")
  expected, mid = case.arrays[f"out/{run}"], case.under("mid")
  if not {f"{run}_call_x", f"{run}_trace"} & mid.keys():
    return
  x, states = sample(sampler, case, noise)
  assert relative(x, nhwc(expected)) < limit, run
  if f"{run}_call_x" in mid:
    begins = np.flatnonzero(sampler.scheme.starts_step)
    calls = nhwc(mid[f"{run}_call_x"])[begins]
    assert relative(states[:-1], calls) < limit, run
  if f"{run}_trace" in mid:
    assert relative(states, nhwc(mid[f"{run}_trace"])) < limit, run


def check_times(case, run, sampler):
  """Compares the times of a run, if the case has them."""
  mid = case.under("mid")
  times, begins = sampler.scheme.time, sampler.scheme.starts_step
  rtol = tolerance(case, "uvit/solver", "time")
  if f"{run}_call_t" in mid:
    np.testing.assert_allclose(times, mid[f"{run}_call_t"], rtol=rtol)
  if f"{run}_t" in mid:
    expected = mid[f"{run}_t"][:-1]
    np.testing.assert_allclose(times[begins], expected, rtol=rtol)
  if f"{run}_orders" in mid:
    orders = np.diff(np.flatnonzero(np.append(begins, True)))
    np.testing.assert_array_equal(orders, mid[f"{run}_orders"])


@cases("uvit/em_*.npz")
def test_euler(case):
  process = official_process("vp", case.meta["vpsde"])
  words = {"sde": "euler_maruyama", "ode": "probability_flow"}
  for steps in case.meta["steps"]:
    noise = case.arrays[f"in/noise_{steps}"]
    samplers = {
      f"{word}_{steps}": create_sampler(
        name, process, num_steps=steps, t_last=case.meta["eps"]
      )
      for word, name in words.items()
    }
    results = run_together([*samplers.values()], case, noise)
    for (run, sampler), x in zip(samplers.items(), results, strict=True):
      expected = nhwc(case.arrays[f"out/{run}"])
      assert relative(x, expected) < tolerance(case, "uvit/solver", "out")
      check_trajectory(case, run, sampler, noise)
      if f"mid/net_time_{steps}" in case.names:
        np.testing.assert_allclose(
          process.network_time(sampler.scheme.time),
          case.arrays[f"mid/net_time_{steps}"],
          rtol=tolerance(case, "uvit/solver", "time"),
        )


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


@cases("uvit/dpm_pp_*.npz")
def test_dpm_solver_pp(case):
  name = {"discrete": "stable_diffusion", "linear": "vp"}[case.meta["schedule"]]
  process = official_process(name, case.meta["schedule_args"])
  expected = case.under("out")
  samplers = {
    run: create_sampler(
      "dpm_solver++",
      process,
      t_first=case.meta["T"],
      t_last=case.meta["eps"],
      **solver_settings(run, case.meta),
    )
    for run in expected
  }
  for prediction in ("data", "noise"):
    group = [r for r in samplers if samplers[r].prediction == prediction]
    results = run_together([samplers[run] for run in group], case)
    for run, x in zip(group, results, strict=True):
      limit = tolerance(case, "uvit/solver", "out")
      assert relative(x, nhwc(expected[run])) < limit, run
  for run, sampler in samplers.items():
    check_times(case, run, sampler)
    check_trajectory(case, run, sampler)


def is_adaptive(run):
  return run.startswith("adaptive")


@cases("uvit/dpm_solver_*.npz")
def test_dpm_solver(case):
  process = official_process("vp", case.meta.get("schedule_args"))
  expected = case.under("out")
  samplers = {}
  for run in expected:
    if is_adaptive(run):
      continue
    kind, steps, *rest = run.split("_", 3)
    settings = {"method": "fast", "num_steps": int(steps)}
    evaluations = int(steps)
    if kind == "fixed":
      order, skip = rest
      settings |= {"method": "singlestep", "order": int(order)}
      settings["spacing"] = SPACING[skip]
      evaluations -= int(steps) % int(order)
    sampler = create_sampler(
      "dpm_solver",
      process,
      t_first=case.meta["T"],
      t_last=case.meta["eps"],
      **settings,
    )
    samplers[run] = sampler
    assert sampler.evaluations == evaluations
    check_times(case, run, sampler)
  results = run_together([*samplers.values()], case)
  for run, x in zip(samplers, results, strict=True):
    limit = tolerance(case, "uvit/solver", "out")
    assert relative(x, nhwc(expected[run])) < limit, run
    check_trajectory(case, run, samplers[run])


@each(
  "uvit/dpm_solver_*.npz",
  lambda case: filter(is_adaptive, case.under("out")),
)
def test_adaptive_dpm_solver(case, name):
  sampler = create_sampler(
    "dpm_solver_adaptive",
    official_process("vp", case.meta.get("schedule_args")),
    order=int(name.removeprefix("adaptive_")),
    shared_step=True,
  )
  start = case.arrays["in/x_init"]
  noise, shape = replay(start), chw_to_hwc(start.shape)
  net = toy_network(sampler.process, case)
  x, evaluations = fast_compile_jit(lambda: sampler.solve(net, noise, shape))()
  expected = nhwc(case.arrays[f"out/{name}"])
  assert relative(x, expected) < tolerance(case, "uvit/solver", "adaptive")
  # The first, tiny steps have errors of rounding size, which shift the rest.
  assert abs(evaluations - case.arrays[f"mid/{name}_nfe_calls"]) <= 6
