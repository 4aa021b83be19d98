"""What this machine can do: matrix products and memory bandwidth.

The peak of a CPU is the faster one of XLA's and PyTorch's product of two
matrices of 2,048 squared, measured in the process that uses it. The peak of an
accelerator is that of its data sheet.
"""

import dataclasses
import functools
import importlib.util

import jax
import jax.numpy as jnp
from timing import Cases, Row, Scale, main_clock, on_cpu, time_alternately

from get_jax.hardware.chips import device_peak

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Machine:
  """Limits of the device for one dtype.

  Attributes:
    xla: FLOP/s of a large matrix product in XLA.
    torch: the same in PyTorch; None without PyTorch.
    peak: FLOP/s that count as 100%.
    bandwidth: bytes per second that a copy reads and writes.
  """

  xla: float
  torch: float | None
  peak: float
  bandwidth: float


@functools.cache
def measure(dtype: str, scale: Scale) -> Machine:
  """Measures this machine; the best of some runs counts.

  Args:
    dtype: type of the matrices.
    scale: sizes and repeats.
  """
  side = scale.select(paper=8192, small=2048, tiny=128)
  matrix = jnp.ones((side, side), dtype)
  product = jax.jit(lambda a, b: jnp.matmul(a, b))
  # Larger than the caches.
  vector = jnp.ones(scale.select(paper=1 << 28, small=1 << 26, tiny=1 << 10))
  copy = jax.jit(lambda x: x + 1)
  functions = {
    "xla": lambda: product(matrix, matrix),
    "copy": lambda: copy(vector),
  }
  if scale.with_torch and importlib.util.find_spec("torch"):
    import torch

    device = "cpu" if on_cpu() else "cuda"
    tensor = torch.ones(side, side, dtype=getattr(torch, dtype), device=device)

    def torch_product():
      torch.mm(tensor, tensor)
      if device == "cuda":
        torch.cuda.synchronize()

    functions["torch"] = torch_product
  runs = time_alternately(functions, max(scale.repeats, 3))
  best = {name: min(main_clock(times)) for name, times in runs.items()}
  flops = 2 * side**3
  rates = {k: flops / best[k] for k in ("xla", "torch") if k in best}
  peak = max(rates.values()) if on_cpu() else None
  return Machine(
    rates["xla"],
    rates.get("torch"),
    peak or device_peak(jax.devices()[0].device_kind) or max(rates.values()),
    2 * vector.nbytes / best["copy"],
  )


def cases(scale: Scale) -> Cases:
  """Returns one case per dtype."""
  return {dtype: functools.partial(rows, dtype, scale) for dtype in DTYPES}


def rows(dtype: str, scale: Scale) -> list[Row]:
  """Returns one row with the limits of this machine."""
  machine = measure(dtype, scale)
  return [
    {
      "type": dtype,
      "matrix product of XLA, GFLOP/s": machine.xla / 1e9,
      "of PyTorch, GFLOP/s": machine.torch and machine.torch / 1e9,
      "copy, GB/s": machine.bandwidth / 1e9,
    }
  ]
