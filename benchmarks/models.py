"""Our networks against the same networks in plain PyTorch, on one core.

  pip install torch==2.13.0
  python benchmarks/models.py

PyTorch's side is plain, with its fused attention; on a GPU it is compiled and
in bfloat16, as ours is, on a CPU float32 and not compiled. Both sides hold the
same weights and are first compared in their outputs. On a CPU times are
seconds of this process pinned to one core, which a busy machine disturbs
least; the two sides alternate, and the table gives medians and the median of
the ratios. Aims: forward at most 0.9 of PyTorch's time, forward and backward
at most 1.1 unrolled; compiling DiT-XL/2 with `scan` at most a third of the
time without (`--compile`).

CPU seconds include the kernel's for fresh memory. XLA takes its temporary
memory in one piece at every call (2 GiB for U-ViT-S/2 with its gradient) and
gives it back, PyTorch keeps its own; on a virtual machine that has not touched
its memory yet this can cost more than the network. glibc keeps the memory, for
both sides, with MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=99999999999.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from timing import Scale, medians, on_cpu, one_core, ratio, take_turns
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
  device = "cpu" if on_cpu() else "cuda"
  rival = rival.to(device)
  rival_inputs = [to_torch(a).to(device) for a in inputs if a is not None]
  rival_weights = to_torch(weights).to(device)
  if not on_cpu():
    rival = torch.compile(rival)
  params = jax.tree.map(jnp.asarray, params)

  def forward(params, *inputs):
    return model.apply({"params": params}, *inputs)

  def loss(params, *inputs):
    return jnp.mean(forward(params, *inputs) * weights)

  ours_forward, ours_grad = jax.jit(forward), jax.jit(jax.value_and_grad(loss))

  def rival_call():
    with torch.autocast(device, torch.bfloat16, enabled=not on_cpu()):
      return rival(*rival_inputs)

  def rival_forward():
    with torch.no_grad():
      out = rival_call()
    if not on_cpu():
      torch.cuda.synchronize()
    return out

  def rival_grad():
    rival.zero_grad(set_to_none=True)
    (rival_call() * rival_weights).mean().backward()
    if not on_cpu():
      torch.cuda.synchronize()

  mine = np.moveaxis(np.asarray(ours_forward(params, *inputs)), -1, 1)
  theirs = rival_forward().float().cpu().numpy()
  gap = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
  if gap > (1e-4 if on_cpu() else 3e-2):
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


KEYS = ("task", "ours, s", "PyTorch, s", "ratio")


def contest(name: str, batch: int, repeats: int, **options) -> list[dict]:
  """One row a task of one network."""
  made = []
  for task, works in sides(CONTESTS[name], batch, **options).items():
    runs = take_turns(dict(zip(KEYS[1:3], works, strict=True)), repeats)
    row = {"network": name, "batch": batch, "task": task, **medians(runs)}
    made.append(row | {"ratio": ratio(*runs.values())})
  return made


def rows(scale: Scale) -> list[dict]:
  """One row a network and task; nothing without PyTorch's side."""
  batch = scale.pick(paper=128, small=8, tiny=1)
  return [
    row
    for name in CONTESTS
    for row in contest(name, batch, scale.repeats, dtype=scale.dtype)
  ]


def compile_seconds(scan: bool) -> float:
  """CPU seconds to trace and compile DiT-XL/2 with its gradient."""
  model = create_model("DiT-XL/2", scan=scan)
  params = abstract_params(model)

  def loss(params, *inputs):
    return jnp.mean(model.apply({"params": params}, *inputs) ** 2)

  step = jax.jit(jax.grad(loss))
  start = time.process_time()
  step.lower(params, *model.inputs(8)).compile()
  return time.process_time() - start


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--models", nargs="*", default=list(CONTESTS))
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--repeats", type=int, default=9)
  parser.add_argument("--scan", action="store_true")
  parser.add_argument("--compile", action="store_true")
  args = parser.parse_args()
  one_core()
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
    for row in contest(name, args.batch, args.repeats, scan=args.scan):
      task, ours, theirs, ratio = (row[key] for key in KEYS)
      print(f"{name:12} {task:18} {ours:8.3f} {theirs:8.3f} {ratio:6.2f}")


if __name__ == "__main__":
  main()
