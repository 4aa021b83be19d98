"""Timing and problem sizes of the benchmarks.

Compared functions run alternately, so that other load on the machine affects
them equally, and medians are reported. On a CPU, times are CPU seconds of this
process on one core, which depend least on other load; on an accelerator, they
are wall seconds.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from get_jax.hardware.chips import device_peak

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Scale:
  """Problem sizes and number of repeats.

  Attributes:
    name: "paper" for the papers' networks, "small" for a CPU, "tiny" for tests
      of the benchmarks.
    repeats: timed runs of each function, after a first run that compiles.
    with_torch: whether implementations in PyTorch are timed too.
  """

  name: str
  repeats: int
  with_torch: bool

  def select(self, *, paper: Any, small: Any, tiny: Any) -> Any:
    """Returns the argument named like this scale."""
    return {"paper": paper, "small": small, "tiny": tiny}[self.name]

  @property
  def dtype(self) -> DTypeLike | None:
    """Compute type: bfloat16 on accelerators, None (float32) on a CPU."""
    return None if on_cpu() else jnp.bfloat16


def on_cpu() -> bool:
  """Returns whether JAX runs on a CPU."""
  return jax.default_backend() == "cpu"


def pin_to_one_core() -> None:
  """Pins this process to one core.

  Call it before libraries read the number of cores.
  """
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def time_alternately(
  functions: Mapping[Key, Callable[[], Any]], repeats: int
) -> dict[Key, list[float]]:
  """Times functions in rounds, in which each runs once.

  Every second round reverses the order.

  Args:
    functions: functions without arguments, by name. JAX arrays that they return
      are waited for; other work must be finished when they return.
    repeats: number of rounds, after one that is not timed.

  Returns:
    Seconds of every run, by name.
  """
  clock = time.process_time if on_cpu() else time.perf_counter
  seconds: dict[Key, list[float]] = {name: [] for name in functions}
  for function in functions.values():
    jax.block_until_ready(function())
  for i in range(repeats):
    for name in list(functions)[:: 1 if i % 2 == 0 else -1]:
      start = clock()
      jax.block_until_ready(functions[name]())
      seconds[name].append(clock() - start)
  return seconds


def medians(seconds: Mapping[Key, list[float]]) -> dict[Key, float]:
  """Returns the median time of each function."""
  return {name: statistics.median(runs) for name, runs in seconds.items()}


def median_ratio(times: list[float], baseline: list[float]) -> float:
  """Returns the median over rounds of time / baseline time."""
  return statistics.median(a / b for a, b in zip(times, baseline, strict=True))


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
