"""Compares FID's Inception-v3 with PyTorch: images/s at 299x299.

  python benchmarks/inception.py [--batch=16] [--rounds=7] [--no-torch]

Both networks have the same random weights and the same images, and their
outputs must agree. They run alternately, and medians are printed. Without
PyTorch, --no-torch times the network of get_jax alone. The printed percentage
is the fraction of the rate that a large float32 matmul reaches on the device
(11.4 GFLOP per image).
"""

import argparse
import functools
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import machine
import numpy as np
from timing import (
  Cases,
  Row,
  Scale,
  median_ratio,
  medians,
  number_of_cores,
  on_cpu,
  time_alternately,
)
from tqdm import trange

from get_jax.evaluation.extractors.inception import Inception
from get_jax.evaluation.extractors.inception_weights import (
  inception_params,
  random_checkpoint,
)

FLOPS_PER_IMAGE = 2 * 5.713e9


Checkpoint = Mapping[str, np.ndarray]
Features = Callable[[np.ndarray], np.ndarray]


def jax_features(arrays: Checkpoint) -> Features:
  """Returns the feature extractor of get_jax.

  Args:
    arrays: a checkpoint, by official name.

  Returns:
    A function from images (B, H, W, 3) to pool features (B, 2048), which waits
    for the result.
  """
  params = jax.device_put(inception_params(dict(arrays)))

  @jax.jit
  def network(params, x):
    return Inception().apply({"params": params}, x)

  return lambda x: np.asarray(network(params, x)["pool"])


def torch_features(arrays: Checkpoint, compiled: bool = False) -> Features:
  """Returns the feature extractor of PyTorch; see `jax_features`.

  Args:
    arrays: a checkpoint, by official name.
    compiled: whether to apply `torch.compile`.
  """
  import torch
  from torch_models.inception import Inception as TorchInception

  torch.set_num_threads(len(os.sched_getaffinity(0)))
  device = "cuda" if torch.cuda.is_available() else "cpu"
  network = TorchInception().eval().to(device)
  state = {key: torch.from_numpy(value) for key, value in arrays.items()}
  missing = network.load_state_dict(state, strict=False).missing_keys
  assert all(key.endswith("num_batches_tracked") for key in missing)
  call = torch.compile(network) if compiled else network

  @torch.no_grad()
  def run(x):
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(device)
    return call(x).cpu().numpy()

  return run


def matmul_rate(size: int) -> float:
  """Returns FLOP/s of a float32 matmul at highest precision, best of five.

  Args:
    size: rows and columns of the matrices.
  """
  x = jnp.ones((size, size))
  matmul = jax.jit(
    lambda x: jnp.matmul(x, x, precision=jax.lax.Precision.HIGHEST)
  )
  matmul(x).block_until_ready()
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    matmul(x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return 2 * size**3 / min(seconds)


def cases(scale: Scale) -> Cases:
  """Returns one case."""
  return {"networks": lambda: rows(scale)}


def rows(scale: Scale) -> list[Row]:
  """Returns one row per network.

  Raises:
    AssertionError: outputs differ.
  """
  arrays = random_checkpoint(0)
  networks = {"get_jax": jax_features(arrays)}
  if scale.with_torch:
    networks["PyTorch"] = torch_features(arrays)
    if scale.with_compiled_torch:
      networks["PyTorch, compiled"] = torch_features(arrays, True)
  batch = scale.select(paper=64, small=4, tiny=1)
  side = scale.select(paper=299, small=299, tiny=75)
  x = np.random.default_rng(0).uniform(-1, 1, (batch, side, side, 3))
  x = x.astype(np.float32)
  check_equal({name: run(x) for name, run in networks.items()})
  functions = {
    name: functools.partial(run, x) for name, run in networks.items()
  }
  runs = time_alternately(functions, scale.repeats)
  flops = batch * FLOPS_PER_IMAGE * (side / 299) ** 2
  peak = machine.measure("float32", scale).peak
  return [
    {
      "network": name,
      "batch": batch,
      "cores": number_of_cores() if on_cpu() else None,
      "images/s": batch / seconds,
      "get_jax's time over this": median_ratio(runs["get_jax"], runs[name]),
      "of the peak": f"{flops / seconds / peak:.0%}",
    }
    for name, seconds in medians(runs).items()
  ]


def check_equal(outputs: Mapping[str, np.ndarray]) -> None:
  """Raises AssertionError unless all outputs agree with those of get_jax."""
  first = outputs["get_jax"]
  limit = 2e-5 if on_cpu() else 5e-3
  for name, output in outputs.items():
    error = np.linalg.norm(output - first) / np.linalg.norm(first)
    assert error < limit, f"{name} differs by {error:.1e}"


def main() -> None:
  """Compares the networks and prints their speed."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--no-torch", action="store_true")
  args = parser.parse_args()
  arrays = random_checkpoint(0)
  networks = {"get_jax": jax_features(arrays)}
  if not args.no_torch:
    if importlib.util.find_spec("torch") is None:
      parser.error("PyTorch is not installed; expected it or --no-torch")
    networks["pytorch-fid's"] = torch_features(arrays)
  x = np.random.default_rng(0).uniform(-1, 1, (args.batch, 299, 299, 3))
  x = x.astype(np.float32)
  check_equal({name: run(x) for name, run in networks.items()})  # compiles
  wall: dict[str, list[float]] = {name: [] for name in networks}
  cpu: dict[str, list[float]] = {name: [] for name in networks}
  for _ in trange(args.rounds, unit="round"):
    for name, run in networks.items():
      start = time.perf_counter(), time.process_time()
      run(x)
      wall[name].append((time.perf_counter() - start[0]) / args.batch)
      cpu[name].append((time.process_time() - start[1]) / args.batch)
  rate = matmul_rate(2048 if on_cpu() else 8192)
  print(
    f"{jax.devices()[0].device_kind}, batch {args.batch}, medians of "
    f"{args.rounds} rounds; matmul {rate / 1e9:.0f} GFLOP/s"
  )
  for name in networks:
    seconds = statistics.median(wall[name])
    print(
      f"{name:14} {1 / seconds:8.2f} images/s, "
      f"{FLOPS_PER_IMAGE / seconds / rate:5.1%} of the matmul rate, "
      f"{statistics.median(cpu[name]):.3f} CPU seconds per image"
    )


if __name__ == "__main__":
  main()
