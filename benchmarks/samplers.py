"""Error and overhead of samplers.

  python benchmarks/samplers.py            # errors and overhead, a minute
  python benchmarks/samplers.py --dit      # 250 guided steps of DiT-S/8

The first table samples a mixture of two Gaussians, whose denoiser is known. It
gives the root mean square distance from the exact solution of the probability
flow ODE, by number of network evaluations. The second table gives the time per
evaluation of the sampler's own arithmetic, with a network of no cost. `--dit`
adds seconds to compile and to run DDPM with 250 steps and guidance on 16
latents, and the number of times that the network was traced.
"""

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from numpy.typing import ArrayLike
from timing import Cases, Row, Scale

from get_jax.diffusion import (
  Guidance,
  SampleNoise,
  create_process,
  create_sampler,
)
from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.edm import SigmaProcess
from get_jax.diffusion.process import Process
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.samplers.ddim import DDIM
from get_jax.diffusion.typing import Network
from get_jax.models import create_model
from get_jax.models.parameters import init_params

# Means at +MODE and -MODE, standard deviation SPREAD.
MODE, SPREAD = 0.6, 0.35
# Process, sampler and settings, by name.
Case = tuple[str, str, dict[str, Any]]
CASES: dict[str, Case] = {
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
TIMED: dict[str, Case] = {
  **CASES,
  "DDPM": ("adm", "ddpm", {}),
  "Euler-Maruyama": ("vp", "euler_maruyama", {}),
}
EVALUATIONS = (10, 20, 50, 100)


def ideal_network(process: Process) -> Network:
  """Returns the network that is optimal for the mixture of two Gaussians."""

  def noise_at(x, alpha, sigma):
    v = alpha**2 * SPREAD**2 + sigma**2
    pull = alpha * MODE * jnp.tanh(alpha * MODE * x / v)
    return sigma * (x - pull) / v

  def net(x, t):
    sigma = process.sigma_of(t)[:, None, None, None]
    if isinstance(process, SigmaProcess):
      c = process.coefficients(process.sigma_of(t))
      rest, out, inside = (
        a[:, None, None, None] for a in (c.one_minus_c_skip, c.c_out, c.c_in)
      )
      x = x / inside
      return (rest * x - sigma * noise_at(x, 1.0, sigma)) / out
    alpha = 1 / jnp.sqrt(1 + sigma**2)
    return noise_at(x, alpha, sigma * alpha)

  return net


def exact_solution(x: ArrayLike, ratio: ArrayLike) -> np.ndarray:
  """Solves the probability flow ODE exactly, by matching quantiles.

  Args:
    x: states scaled to x0 + ratio * noise, any shape.
    ratio: noise-to-signal ratio of the states.

  Returns:
    The data at the end of the path, of the shape of x, float64.
  """
  x = np.asarray(x, np.float64)

  def cdf(x: np.ndarray, ratio: ArrayLike) -> np.ndarray:
    std = np.hypot(SPREAD, ratio)
    left = scipy.special.ndtr((x + MODE) / std)
    return (left + scipy.special.ndtr((x - MODE) / std)) / 2

  quantile = cdf(x, ratio)
  low, high = np.full(x.shape, -9.0), np.full(x.shape, 9.0)
  for _ in range(60):
    middle = (low + high) / 2
    less = cdf(middle, 0.0) < quantile
    low, high = np.where(less, middle, low), np.where(less, high, middle)
  return middle


def initial_noise_level(
  process: Process, sampler: SchemeSampler
) -> tuple[ArrayLike, float]:
  """Returns sigma / alpha and alpha at the start of sampling."""
  if isinstance(process, SigmaProcess):
    return sampler.scheme.start, 1.0
  if isinstance(sampler, DDIM):
    alpha = np.float64(np.sqrt(sampler.respaced.tables.alpha_bar[-1]))
  else:
    assert isinstance(process, VariancePreserving)
    alpha = np.float64(process.schedule.alpha(process.schedule.t_first))
  return np.float64(np.sqrt(1 - alpha**2) / alpha), alpha


def sampling_errors() -> dict[str, dict[int, float]]:
  """Returns the error by case and number of evaluations."""
  noise = SampleNoise.create(jax.random.key(0), np.arange(64))
  shape = (1, 1, 16)
  errors: dict[str, dict[int, float]] = {case: {} for case in CASES}
  for case, (process_name, name, settings) in CASES.items():
    process = create_process(process_name)
    net = ideal_network(process)
    for count in EVALUATIONS:
      heun = name == "heun" and "solver" not in settings
      steps = (count + 1) // 2 if heun else count
      sampler = create_sampler(name, process, num_steps=steps, **settings)
      assert isinstance(sampler, SchemeSampler)
      x = jax.jit(lambda s=sampler, n=net: s(n, noise, shape))()
      ratio, alpha = initial_noise_level(process, sampler)
      start = sampler.scheme.start * np.asarray(noise(0, shape)) / alpha
      error = np.asarray(x) - exact_solution(start, ratio)
      errors[case][count] = float(np.sqrt(np.mean(error**2)))
  return errors


def overhead(
  cases: Mapping[str, Case] = TIMED, num_steps: int = 100, repeats: int = 7
) -> dict[str, float]:
  """Returns wall microseconds per evaluation of a network of no cost.

  Args:
    cases: the samplers, by name.
    num_steps: steps of each sampler.
    repeats: timed runs, of which the median is taken.
  """
  noise = SampleNoise.create(jax.random.key(0), np.arange(16))
  times_by_case = {}
  for case, (process_name, name, settings) in cases.items():
    process = create_process(process_name)
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
    assert sampler.evaluations is not None  # none of them is adaptive
    microseconds = 1e6 * float(np.median(times))
    times_by_case[case] = microseconds / sampler.evaluations
  return times_by_case


def guided_dit() -> dict[str, float]:
  """Returns seconds of 250 guided steps of DiT-S/8 on 16 latents."""
  model = create_model("DiT-S/8", image_size=256)
  params = init_params(model, jax.random.key(0))
  sampler = create_sampler("ddpm", create_process("adm"), num_steps=250)
  guidance = Guidance(scale=4.0, channels=3)
  traces: list[tuple[int, ...]] = []

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


def cases(scale: Scale) -> Cases:
  """Returns one case with all samplers."""
  return {"samplers": lambda: rows(scale)}


def rows(scale: Scale) -> list[Row]:
  """Returns one row per sampler: overhead, and error by evaluations."""
  if scale.name == "tiny":
    timed = {"Euler (EDM)": CASES["Euler (EDM)"]}
    costs = overhead(timed, 2, scale.repeats)
    errors: dict[str, dict[int, float]] = {}
  else:
    costs, errors = overhead(repeats=scale.repeats), sampling_errors()
  table = []
  for case, cost in costs.items():
    row: dict[str, Any] = {"sampler": case, "us an evaluation": cost}
    for count, error in errors.get(case, {}).items():
      row[f"error after {count}"] = error
    table.append(row)
  return table


def main() -> None:
  """Prints the tables, and writes them to the file `--json`."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument(
    "--dit", action="store_true", help="time the guided DiT too"
  )
  parser.add_argument("--json", help="file to write the results to")
  options = parser.parse_args()
  results: dict[str, Any] = {"device": jax.devices()[0].device_kind}
  print("| error after | " + " | ".join(map(str, EVALUATIONS)) + " |")
  print("| --- |" + " --- |" * len(EVALUATIONS))
  results["error"] = sampling_errors()
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
