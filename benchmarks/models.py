"""Our networks against the same networks in plain PyTorch, on one core.

  pip install torch==2.13.0
  python benchmarks/models.py

Both sides hold the same weights and are first compared in their outputs.
Times are CPU seconds of this process pinned to one core, which a busy machine
disturbs least; the two sides alternate, and the table gives medians and the
median of the ratios. Aims: forward at most 0.9 of PyTorch's time, forward and
backward at most 1.1 unrolled; compiling DiT-XL/2 with `scan` at most a third
of the time without (`--compile`).
"""

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch_models import transformers, uvit

from get_jax.equilibrium import Simple
from get_jax.interop.official import export_official
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params


@dataclasses.dataclass(frozen=True)
class Contest:
  """One network on both sides.

  Attributes:
    model: makes ours from its compute options.
    torch_model: makes the same in PyTorch.
    inputs: positional arguments after the parameters, NHWC.
  """

  model: Callable[..., nn.Module]
  torch_model: Callable[[], torch.nn.Module]
  inputs: Callable[[int, np.random.Generator], tuple]


def normal(rng, *shape):
  """Standard normal float32."""
  return rng.standard_normal(shape, np.float32)


CONTESTS = {
  "DiT-S/4": Contest(
    lambda **options: create_model("DiT-S/4", **options),
    lambda: transformers.DiT(32, 4, 384, 12, 6),
    lambda batch, rng: (
      normal(rng, batch, 32, 32, 4),
      rng.uniform(0, 999, batch).astype(np.float32),
      rng.integers(0, 1000, batch),
    ),
  ),
  "U-ViT-S/2": Contest(
    lambda **options: create_model("U-ViT-S/2", **options),
    lambda: uvit.UViT(32, 2, 512, 12, 8),
    lambda batch, rng: (
      normal(rng, batch, 32, 32, 3),
      rng.uniform(0, 999, batch).astype(np.float32),
    ),
  ),
  "GET-M/2": Contest(
    lambda **options: create_model("GET-M/2", solver=Simple(), **options),
    lambda: transformers.GET(32, 384, 6, 6, 3, 6),
    lambda batch, rng: (
      normal(rng, batch, 32, 32, 3),
      None,
      normal(rng, batch, 256, 384),
    ),
  ),
}


def random_params(model, rng):
  """Small numbers everywhere, heads included."""
  return jax.tree.map(
    lambda a: 0.02 * normal(rng, *a.shape), abstract_params(model)
  )


def to_torch(array):
  """A tensor; images go from NHWC to NCHW."""
  tensor = torch.from_numpy(np.array(array))
  return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def sides(contest: Contest, batch: int, **options):
  """Callables by task: ours and PyTorch's, each doing one pass."""
  rng = np.random.default_rng(0)
  model = contest.model(**options)
  params = random_params(model, rng)
  inputs = contest.inputs(batch, rng)
  weights = normal(rng, *model.inputs(batch)[0].shape[:3], 1)

  rival = contest.torch_model()
  official = export_official(model, params)
  rival.load_state_dict({k: torch.from_numpy(v) for k, v in official.items()})
  rival_inputs = [to_torch(a) for a in inputs if a is not None]
  rival_weights = to_torch(weights)
  params = jax.tree.map(jnp.asarray, params)

  def forward(params, *inputs):
    return model.apply({"params": params}, *inputs)

  def loss(params, *inputs):
    return jnp.mean(forward(params, *inputs) * weights)

  ours_forward, ours_grad = jax.jit(forward), jax.jit(jax.value_and_grad(loss))

  def rival_forward():
    with torch.no_grad():
      return rival(*rival_inputs)

  def rival_grad():
    rival.zero_grad(set_to_none=True)
    (rival(*rival_inputs) * rival_weights).mean().backward()

  mine = np.moveaxis(np.asarray(ours_forward(params, *inputs)), -1, 1)
  theirs = rival_forward().numpy()
  gap = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
  if gap > 1e-4:
    raise AssertionError(f"the two sides differ by {gap:.1e}")
  return {
    "forward": (
      lambda: jax.block_until_ready(ours_forward(params, *inputs)),
      rival_forward,
    ),
    "forward+backward": (
      lambda: jax.block_until_ready(ours_grad(params, *inputs)),
      rival_grad,
    ),
  }


def seconds(work) -> float:
  """CPU seconds of one call."""
  start = time.process_time()
  work()
  return time.process_time() - start


def compete(ours, theirs, repeats: int) -> tuple[float, float, float]:
  """Median seconds of both, and the median of their ratios."""
  for work in (ours, theirs):
    work()
  times = []
  for i in range(repeats):
    order = (ours, theirs) if i % 2 == 0 else (theirs, ours)
    first, second = (seconds(work) for work in order)
    times.append((first, second) if i % 2 == 0 else (second, first))
  medians = [statistics.median(side) for side in zip(*times, strict=True)]
  return *medians, statistics.median(a / b for a, b in times)


def compile_seconds(scan: bool) -> float:
  """CPU seconds to trace and compile DiT-XL/2 with its gradient."""
  model = create_model("DiT-XL/2", scan=scan)
  params = abstract_params(model)

  def loss(params, *inputs):
    return jnp.mean(model.apply({"params": params}, *inputs) ** 2)

  step = jax.jit(jax.grad(loss))
  return seconds(lambda: step.lower(params, *model.inputs(8)).compile())


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--models", nargs="*", default=list(CONTESTS))
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--repeats", type=int, default=9)
  parser.add_argument("--scan", action="store_true")
  parser.add_argument("--compile", action="store_true")
  args = parser.parse_args()
  # Before either library counts the cores.
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
  jax.config.update("jax_platforms", "cpu")
  torch.set_num_threads(1)
  if args.compile:
    unrolled, scanned = compile_seconds(False), compile_seconds(True)
    print(f"compile DiT-XL/2: {unrolled:.1f} s, scan {scanned:.1f} s", end="")
    print(f", ratio {scanned / unrolled:.2f}")
    return
  print(f"jax {jax.__version__}, torch {torch.__version__}, batch {args.batch}")
  print(f"{'model':12} {'task':18} {'ours s':>8} {'torch s':>8} {'ratio':>6}")
  for name in args.models:
    tasks = sides(CONTESTS[name], args.batch, scan=args.scan)
    for task, (ours, theirs) in tasks.items():
      mine, rival, ratio = compete(ours, theirs, args.repeats)
      print(f"{name:12} {task:18} {mine:8.3f} {rival:8.3f} {ratio:6.2f}")


if __name__ == "__main__":
  main()
