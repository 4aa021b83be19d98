"""Timing and problem sizes of the benchmarks.

Compared functions run alternately, so that other load on the machine affects
them equally, and medians are reported. On one core of a CPU, times are CPU
seconds of this process, which depend least on other load. On several cores and
on an accelerator they are wall seconds; the CPU seconds are kept beside them.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from get_jax.hardware.chips import device_peak

Key = TypeVar("Key", bound=Hashable)
Row = dict[str, Any]
Cases = dict[str, Callable[[], list[Row]]]


@dataclasses.dataclass(frozen=True)
class Scale:
  """Problem sizes and number of repeats.

  Attributes:
    name: "paper" for the papers' networks, "small" for a CPU, "tiny" for tests
      of the benchmarks.
    repeats: timed runs of each function, after a first run that compiles.
    with_torch: whether implementations in PyTorch are timed too.
    with_compiled_torch: whether they are also timed after `torch.compile`.
  """

  name: str
  repeats: int
  with_torch: bool
  with_compiled_torch: bool = True

  def select(self, *, paper: Any, small: Any, tiny: Any) -> Any:
    """Returns the argument named like this scale."""
    return {"paper": paper, "small": small, "tiny": tiny}[self.name]

  @property
  def dtype(self) -> DTypeLike | None:
    """Compute type: bfloat16 on accelerators, None (float32) on a CPU."""
    return None if on_cpu() else jnp.bfloat16


class Seconds(NamedTuple):
  """Time of a run: wall seconds, and CPU seconds of this process."""

  wall: float
  cpu: float


def on_cpu() -> bool:
  """Returns whether JAX runs on a CPU."""
  return jax.default_backend() == "cpu"


def number_of_cores() -> int:
  """Returns the number of cores that this process may use."""
  return len(os.sched_getaffinity(0))


def use_cores(count: int) -> None:
  """Limits this process to some cores.

  Call it before JAX or PyTorch start their threads.

  Args:
    count: number of cores, at most those of the machine.
  """
  available = sorted(os.sched_getaffinity(0))
  os.sched_setaffinity(0, set(available[:count]))


def time_alternately(
  functions: Mapping[Key, Callable[[], Any]], repeats: int
) -> dict[Key, list[Seconds]]:
  """Times functions in rounds, in which each runs once.

  Every second round reverses the order.

  Args:
    functions: functions without arguments, by name. JAX arrays that they return
      are waited for; other work must be finished when they return.
    repeats: number of rounds, after one that is not timed.

  Returns:
    Times of every run, by name.
  """
  seconds: dict[Key, list[Seconds]] = {name: [] for name in functions}
  for function in functions.values():
    jax.block_until_ready(function())
  for i in range(repeats):
    for name in list(functions)[:: 1 if i % 2 == 0 else -1]:
      start = Seconds(time.perf_counter(), time.process_time())
      jax.block_until_ready(functions[name]())
      wall, cpu = time.perf_counter(), time.process_time()
      seconds[name].append(Seconds(wall - start.wall, cpu - start.cpu))
  return seconds


def main_clock(runs: list[Seconds]) -> list[float]:
  """Returns CPU seconds on one core of a CPU, else wall seconds."""
  use_cpu = on_cpu() and number_of_cores() == 1
  return [run.cpu if use_cpu else run.wall for run in runs]


def medians(seconds: Mapping[Key, list[Seconds]]) -> dict[Key, float]:
  """Returns the median time of each function."""
  return {k: statistics.median(main_clock(v)) for k, v in seconds.items()}


def median_ratio(times: list[Seconds], baseline: list[Seconds]) -> float:
  """Returns the median over rounds of time / baseline time."""
  return statistics.median(
    a / b for a, b in zip(main_clock(times), main_clock(baseline), strict=True)
  )


def median_cpu(runs: list[Seconds]) -> float:
  """Returns the median of the CPU seconds."""
  return statistics.median(run.cpu for run in runs)


def utilization(flops: float, seconds: float) -> float | None:
  """Returns the fraction of the device's bfloat16 peak that is reached.

  Args:
    flops: floating-point operations.
    seconds: time that they took.

  Returns:
    A fraction, or None if the peak of the device is unknown.
  """
  peak = device_peak(jax.devices()[0].device_kind)
  return None if peak is None else flops / seconds / peak
