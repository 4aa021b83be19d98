"""How everything here is timed, and at which sizes.

Works take turns, so that whatever else the machine does meets them alike, and
medians are taken. On a CPU the clock is that of this process on one core,
which a busy machine disturbs least; on an accelerator it is the wall's.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from get_jax.hardware.chips import device_peak


@dataclasses.dataclass(frozen=True)
class Scale:
  """The sizes and repeats of a run.

  Attributes:
    name: "paper" for the papers' networks, "small" for a CPU, "tiny" for a
      test of the harness.
    repeats: runs of every work after a first one that compiles.
    with_torch: whether PyTorch's side is timed too, where there is one.
  """

  name: str
  repeats: int
  with_torch: bool

  def pick(self, *, paper: Any, small: Any, tiny: Any) -> Any:
    """What belongs to this scale."""
    return {"paper": paper, "small": small, "tiny": tiny}[self.name]

  @property
  def dtype(self):
    """Type of the matrix products: bfloat16 on accelerators."""
    return None if on_cpu() else jnp.bfloat16


def on_cpu() -> bool:
  """Whether there is no accelerator."""
  return jax.default_backend() == "cpu"


def one_core() -> None:
  """Pins this process to one core; before any library counts them."""
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def take_turns(
  works: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
  """Seconds of every run of every work, by name.

  Args:
    works: callables whose arrays of JAX are waited for; others wait
      themselves. The order is reversed every other round.
    repeats: rounds after one that is not counted.
  """
  clock = time.process_time if on_cpu() else time.perf_counter
  seconds = {name: [] for name in works}
  for work in works.values():
    jax.block_until_ready(work())
  for i in range(repeats):
    for name in list(works)[:: 1 if i % 2 == 0 else -1]:
      start = clock()
      jax.block_until_ready(works[name]())
      seconds[name].append(clock() - start)
  return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
  """The median of every work."""
  return {name: statistics.median(runs) for name, runs in seconds.items()}


def ratio(ours: list[float], theirs: list[float]) -> float:
  """Median of the ratios of runs side by side."""
  return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def utilisation(flops: float, seconds: float) -> float | None:
  """Share of the device's bfloat16 peak, None where that is not known."""
  peak = device_peak(jax.devices()[0].device_kind)
  return None if peak is None else flops / seconds / peak
