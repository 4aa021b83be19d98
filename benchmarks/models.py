"""Compares networks of get_jax with the same networks in plain PyTorch.

  pip install torch==2.13.0
  python benchmarks/models.py

The networks in PyTorch use its fused attention. On a GPU, both implementations
are compiled and in bfloat16; on a CPU, both are in float32, and PyTorch is not
compiled. Both have the same weights, and their outputs are compared first. On a
CPU, the process is pinned to one core and times are its CPU seconds, which
depend least on other load. Both run alternately, and the table gives medians
and the median of the ratios. Targets: forward at most 0.9 of PyTorch's time,
forward and backward at most 1.1 without `scan`; compiling DiT-XL/2 with `scan`
at most a third of the time without (`--compile`).

CPU seconds include those of the operating system for new memory pages. XLA
allocates its temporary memory in one piece at every call (2 GiB for U-ViT-S/2
with its gradient) and frees it, whereas PyTorch keeps its memory. On a virtual
machine that has not used its memory before, this can cost more than the
network. With MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=99999999999, glibc keeps the memory for both.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from timing import (
  Scale,
  median_ratio,
  medians,
  on_cpu,
  pin_to_one_core,
  time_alternately,
)
from torch_models import transformers, uvit

from get_jax.equilibrium import Simple
from get_jax.interop.official import export_official
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params


@dataclasses.dataclass(frozen=True)
class Comparison:
  """A network in both implementations.

  Attributes:
    model: creates the network of get_jax from compute options.
    torch_model: creates the same network in PyTorch.
    inputs: creates positional arguments after the parameters, NHWC, from a
      batch size and a generator.
  """

  model: Callable[..., nn.Module]
  torch_model: Callable[[], torch.nn.Module]
  inputs: Callable[[int, np.random.Generator], tuple]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
  """Returns standard normal float32 numbers."""
  return rng.standard_normal(shape, np.float32)


def denoiser_inputs(
  batch: int, rng: np.random.Generator, channels: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns x (B, 32, 32, channels) and timesteps (B,) of a denoiser."""
  x = normal(rng, batch, 32, 32, channels)
  return x, rng.uniform(0, 999, batch).astype(np.float32)


COMPARISONS = {
  "DiT-S/4": Comparison(
    functools.partial(create_model, "DiT-S/4"),
    lambda: transformers.DiT(32, 4, 384, 12, 6),
    lambda batch, rng: (
      *denoiser_inputs(batch, rng, 4),
      rng.integers(0, 1000, batch),
    ),
  ),
  "U-ViT-S/2": Comparison(
    functools.partial(create_model, "U-ViT-S/2"),
    lambda: uvit.UViT(32, 2, 512, 12, 8),
    lambda batch, rng: denoiser_inputs(batch, rng, 3),
  ),
  "GET-M/2": Comparison(
    functools.partial(create_model, "GET-M/2", solver=Simple()),
    lambda: transformers.GET(32, 384, 6, 6, 3, 6),
    lambda batch, rng: (
      normal(rng, batch, 32, 32, 3),
      None,
      normal(rng, batch, 256, 384),
    ),
  ),
}


def random_params(model: nn.Module, rng: np.random.Generator):
  """Returns small random parameters, also for layers initialized to zero."""
  return jax.tree.map(
    lambda a: 0.02 * normal(rng, *a.shape), abstract_params(model)
  )


def to_torch(array: np.ndarray) -> torch.Tensor:
  """Converts an array to a tensor, and images from NHWC to NCHW."""
  tensor = torch.from_numpy(np.array(array))
  return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def passes(
  comparison: Comparison, batch: int, **options: Any
) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
  """Returns functions that run one pass, of get_jax and of PyTorch, by task.

  Args:
    comparison: the network.
    batch: batch size, B.
    **options: compute options of the network of get_jax.

  Raises:
    AssertionError: the outputs of the implementations differ.
  """
  rng = np.random.default_rng(0)
  model = comparison.model(**options)
  params = random_params(model, rng)
  inputs = comparison.inputs(batch, rng)
  weights = normal(rng, *model.inputs(batch)[0].shape[:3], 1)

  torch_model = comparison.torch_model()
  official = export_official(model, params)
  torch_model.load_state_dict(
    {k: torch.from_numpy(v) for k, v in official.items()}
  )
  device = "cpu" if on_cpu() else "cuda"
  torch_model = torch_model.to(device)
  torch_inputs = [to_torch(a).to(device) for a in inputs if a is not None]
  torch_weights = to_torch(weights).to(device)
  if not on_cpu():
    torch_model = torch.compile(torch_model)
  params = jax.tree.map(jnp.asarray, params)

  def forward(params, *inputs):
    return model.apply({"params": params}, *inputs)

  def loss(params, *inputs):
    return jnp.mean(forward(params, *inputs) * weights)

  jax_forward, jax_grad = jax.jit(forward), jax.jit(jax.value_and_grad(loss))

  def torch_call():
    with torch.autocast(device, torch.bfloat16, enabled=not on_cpu()):
      return torch_model(*torch_inputs)

  def torch_forward():
    with torch.no_grad():
      out = torch_call()
    if not on_cpu():
      torch.cuda.synchronize()
    return out

  def torch_grad():
    torch_model.zero_grad(set_to_none=True)
    (torch_call() * torch_weights).mean().backward()
    if not on_cpu():
      torch.cuda.synchronize()

  output = np.moveaxis(np.asarray(jax_forward(params, *inputs)), -1, 1)
  expected = torch_forward().float().cpu().numpy()
  error = np.linalg.norm(output - expected) / np.linalg.norm(expected)
  if error > (1e-4 if on_cpu() else 3e-2):
    raise AssertionError(f"the outputs differ by {error:.1e}")
  return {
    "forward": (
      lambda: jax.block_until_ready(jax_forward(params, *inputs)),
      torch_forward,
    ),
    "forward+backward": (
      lambda: jax.block_until_ready(jax_grad(params, *inputs)),
      torch_grad,
    ),
  }


KEYS = ("task", "ours, s", "PyTorch, s", "ratio")


def compare(
  name: str, batch: int, repeats: int, **options: Any
) -> list[dict[str, Any]]:
  """Returns one row per task of a network.

  Args:
    name: a key of `COMPARISONS`.
    batch: batch size, B.
    repeats: timed runs.
    **options: compute options of the network of get_jax.
  """
  table = []
  for task, functions in passes(COMPARISONS[name], batch, **options).items():
    runs = time_alternately(
      dict(zip(KEYS[1:3], functions, strict=True)), repeats
    )
    row = {"network": name, "batch": batch, "task": task, **medians(runs)}
    table.append(row | {"ratio": median_ratio(*runs.values())})
  return table


def rows(scale: Scale) -> list[dict[str, Any]]:
  """Returns one row per network and task; PyTorch is required."""
  batch = scale.select(paper=128, small=8, tiny=1)
  return [
    row
    for name in COMPARISONS
    for row in compare(name, batch, scale.repeats, dtype=scale.dtype)
  ]


def compile_seconds(scan: bool) -> float:
  """Returns CPU seconds to trace and compile the gradient of DiT-XL/2.

  Args:
    scan: whether the blocks run in a scan.
  """
  model = create_model("DiT-XL/2", scan=scan)
  params = abstract_params(model)

  def forward(params, *inputs):
    return model.apply({"params": params}, *inputs)

  def loss(params, *inputs):
    return jnp.mean(forward(params, *inputs) ** 2)

  step = jax.jit(jax.grad(loss))
  start = time.process_time()
  step.lower(params, *model.inputs(8)).compile()
  return time.process_time() - start


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description="Networks against PyTorch.")
  parser.add_argument("--models", nargs="*", default=list(COMPARISONS))
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--repeats", type=int, default=9)
  parser.add_argument("--scan", action="store_true")
  parser.add_argument("--compile", action="store_true")
  args = parser.parse_args()
  pin_to_one_core()
  jax.config.update("jax_platforms", "cpu")
  torch.set_num_threads(1)
  if args.compile:
    unrolled, scanned = compile_seconds(False), compile_seconds(True)
    print(f"compile DiT-XL/2: {unrolled:.1f} s, scan {scanned:.1f} s", end="")
    print(f", ratio {scanned / unrolled:.2f}")
    return
  print(f"jax {jax.__version__}, torch {torch.__version__}, batch {args.batch}")
  print(
    f"{'model':12} {'task':18} {'get_jax s':>9} {'torch s':>8} {'ratio':>6}"
  )
  for name in args.models:
    for row in compare(name, args.batch, args.repeats, scan=args.scan):
      task, jax_time, torch_time, ratio = (row[key] for key in KEYS)
      print(
        f"{name:12} {task:18} {jax_time:9.3f} {torch_time:8.3f} {ratio:6.2f}"
      )


if __name__ == "__main__":
  main()
