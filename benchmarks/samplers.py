"""What samplers cost and what they give for it.

  python benchmarks/samplers.py            # errors and overhead, a minute
  python benchmarks/samplers.py --dit      # 250 guided steps of DiT-S/8

The first table samples two modes whose denoiser is known: root mean square
distance from the end of the exact path, by number of network evaluations. The
second is the time of one evaluation's arithmetic around a network that costs
nothing. With `--dit`: seconds to compile and to run DDPM with 250 steps and
guidance on 16 latents, and how often the network was traced.
"""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from get_jax.diffusion import (
  Guidance,
  SampleNoise,
  create_process,
  create_sampler,
)
from get_jax.models import create_model
from get_jax.models.parameters import init_params

MODE, SPREAD = 0.6, 0.35
CASES = {
  "Euler (EDM)": ("edm", "heun", {"solver": "euler"}),
  "Heun (EDM)": ("edm", "heun", {}),
  "probability flow": ("vp", "probability_flow", {}),
  "DDIM": ("adm", "ddim", {}),
  "DPM-Solver fast": ("vp", "dpm_solver", {}),
  "DPM-Solver++ fast": ("stable_diffusion", "dpm_solver++", {}),
  "DPM-Solver++ 2M": (
    "stable_diffusion",
    "dpm_solver++",
    {"method": "multistep", "order": 2},
  ),
}
TIMED = {
  **CASES,
  "DDPM": ("adm", "ddpm", {}),
  "Euler-Maruyama": ("vp", "euler_maruyama", {}),
}
EVALUATIONS = (10, 20, 50, 100)


def ideal_network(process):
  """The raw network that has learned the two modes."""

  def noise_at(x, alpha, sigma):
    v = alpha**2 * SPREAD**2 + sigma**2
    pull = alpha * MODE * jnp.tanh(alpha * MODE * x / v)
    return sigma * (x - pull) / v

  def net(x, t):
    sigma = process.sigma_of(t)[:, None, None, None]
    if hasattr(process, "denoiser"):
      c = process.coefficients(process.sigma_of(t))
      rest, out, inside = (
        a[:, None, None, None] for a in (c.one_minus_c_skip, c.c_out, c.c_in)
      )
      x = x / inside
      return (rest * x - sigma * noise_at(x, 1.0, sigma)) / out
    alpha = 1 / jnp.sqrt(1 + sigma**2)
    return noise_at(x, alpha, sigma * alpha)

  return net


def exact(x, ratio):
  """The clean ends of states with the noise-to-signal ratio, by quantile."""
  x = np.asarray(x, np.float64)

  def below(x, ratio):
    std = np.hypot(SPREAD, ratio)
    sides = (scipy.special.ndtr((x - s * MODE) / std) for s in (-1, 1))
    return sum(sides) / 2

  wanted, low, high = below(x, ratio), np.full(x.shape, -9.0), 9.0
  high = np.full(x.shape, high)
  for _ in range(60):
    middle = (low + high) / 2
    less = below(middle, 0.0) < wanted
    low, high = np.where(less, middle, low), np.where(less, high, middle)
  return middle


def first_ratio(process, sampler):
  """sigma / alpha and alpha where a sampler begins."""
  if hasattr(process, "denoiser"):
    return sampler.scheme.start, 1.0
  if hasattr(sampler, "respaced"):
    alpha = np.sqrt(sampler.respaced.tables.alpha_bar[-1])
  else:
    alpha = process.schedule.alpha(process.schedule.t_first)
  return np.sqrt(1 - alpha**2) / alpha, alpha


def quality():
  """Errors of every sampler by number of evaluations."""
  noise = SampleNoise.create(jax.random.key(0), np.arange(64))
  shape = (1, 1, 16)
  rows = {}
  for case, (process, name, settings) in CASES.items():
    process, rows[case] = create_process(process), {}
    net = ideal_network(process)
    for count in EVALUATIONS:
      heun = name == "heun" and "solver" not in settings
      steps = (count + 1) // 2 if heun else count
      sampler = create_sampler(name, process, num_steps=steps, **settings)
      x = jax.jit(lambda s=sampler, n=net: s(n, noise, shape))()
      ratio, alpha = first_ratio(process, sampler)
      start = sampler.scheme.start * np.asarray(noise(0, shape)) / alpha
      gap = np.asarray(x) - exact(start, ratio)
      rows[case][count] = float(np.sqrt(np.mean(gap**2)))
  return rows


def overhead(cases=TIMED, num_steps: int = 100, repeats: int = 7):
  """Wall microseconds per evaluation of a network that costs nothing."""
  noise = SampleNoise.create(jax.random.key(0), np.arange(16))
  rows = {}
  for case, (process, name, settings) in cases.items():
    process = create_process(process)
    sampler = create_sampler(name, process, num_steps=num_steps, **settings)

    def net(x, t, learned=name == "ddpm"):
      return jnp.concatenate([x, x], axis=-1) if learned else x

    run = jax.jit(lambda s=sampler, n=net: s(n, noise, (32, 32, 4)))
    run().block_until_ready()
    times = []
    for _ in range(repeats):
      begin = time.perf_counter()
      run().block_until_ready()
      times.append(time.perf_counter() - begin)
    rows[case] = 1e6 * float(np.median(times)) / sampler.evaluations
  return rows


def guided_dit():
  """Seconds of 250 guided steps of DiT-S/8 on 16 latents."""
  model = create_model("DiT-S/8", image_size=256)
  params = init_params(model, jax.random.key(0))
  sampler = create_sampler("ddpm", create_process("adm"), num_steps=250)
  guidance, traces = Guidance(scale=4.0, channels=3), []

  @jax.jit
  def sample(params, noise, y):
    def net(x, t, y):
      traces.append(x.shape)
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, y, model.num_classes)
    return sampler(guided, noise, (32, 32, 4))

  def arguments(i):
    indices = np.arange(16) + 16 * i
    return (
      params,
      SampleNoise.create(jax.random.key(0), indices),
      indices % 1000,
    )

  begin = time.perf_counter()
  compiled = sample.lower(*arguments(0)).compile()
  seconds = {"compile": time.perf_counter() - begin}
  for name, i in {"first run": 0, "second run": 1}.items():
    begin = time.perf_counter()
    x = compiled(*arguments(i)).block_until_ready()
    seconds[name] = time.perf_counter() - begin
    assert np.isfinite(x).all()
  return seconds | {"network traced": len(traces)}


def rows(scale) -> list[dict]:
  """One row a sampler: errors by evaluations, and the arithmetic's cost."""
  if scale.name == "tiny":
    one = {"Euler (EDM)": CASES["Euler (EDM)"]}
    costs, errors = overhead(one, 2, scale.repeats), {}
  else:
    costs, errors = overhead(repeats=scale.repeats), quality()
  made = []
  for case, cost in costs.items():
    row = {"sampler": case, "us an evaluation": cost}
    for count, error in errors.get(case, {}).items():
      row[f"error after {count}"] = error
    made.append(row)
  return made


def main():
  """Prints the tables, and writes them where `--json` says."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--dit", action="store_true", help="the guided DiT too")
  parser.add_argument("--json", help="a file to write the figures to")
  options = parser.parse_args()
  results = {"device": jax.devices()[0].device_kind}
  print("| error after | " + " | ".join(map(str, EVALUATIONS)) + " |")
  print("| --- |" + " --- |" * len(EVALUATIONS))
  results["error"] = quality()
  for case, row in results["error"].items():
    cells = " | ".join(f"{value:.1e}" for value in row.values())
    print(f"| {case} | {cells} |")
  print("\n| microseconds per evaluation, 16x32x32x4 | |\n| --- | --- |")
  results["overhead_us"] = overhead()
  for case, value in results["overhead_us"].items():
    print(f"| {case} | {value:.0f} |")
  if options.dit:
    results["dit_s8_250_guided"] = guided_dit()
    print("\nDiT-S/8, 250 guided steps, 16 latents:")
    print(json.dumps(results["dit_s8_250_guided"], indent=2))
  if options.json:
    with open(options.json, "w", encoding="utf-8") as file:
      json.dump(results, file, indent=2)


if __name__ == "__main__":
  main()
