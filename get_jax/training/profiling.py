"""Performance metrics of training steps, and profiler traces."""

import contextlib
import dataclasses
import os
import pathlib
import resource
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import jax
from jaxtyping import PyTree

from get_jax.errors import UsageError
from get_jax.hardware.host_memory import release_freed_memory
from get_jax.storage.paths import StrPath, as_path, is_remote, write_bytes

T = TypeVar("T")

# Keys in metric lines that differ between two runs of the same experiment.
PERFORMANCE_KEYS = (
  "images_per_second",
  "input_wait_share",
  "model_flops_utilization",
  "device_peak_gib",
  "host_peak_gib",
  "compile_seconds",
)


class PerformanceMetrics:
  """Measures performance between two metric lines.

  - images_per_second: throughput over all devices.
  - input_wait_share: fraction of the time in which the host waits for the next
    batch.
  - model_flops_utilization: FLOPs that the network needs, divided by the FLOPs
    of all devices at their bfloat16 peak; left out if one of the two is not
    known.
  - device_peak_gib: peak memory so far of one device of this process, the
    maximum over its devices. Devices that do not report memory (CPU) have
    host_peak_gib instead: peak memory of the process.
  - compile_seconds: compilation time of the step; written once.

  Args:
    batch_size: images per step.
    flops_per_step: FLOPs that the network needs per step, over all devices.
    peak_flops: peak FLOPs per second of all devices together.
  """

  def __init__(
    self,
    batch_size: int,
    flops_per_step: int | None = None,
    peak_flops: float | None = None,
  ):
    self.batch_size = batch_size
    self.flops_per_step, self.peak_flops = flops_per_step, peak_flops
    self._once: dict[str, float] = {}
    self._restart()

  def _restart(self) -> None:
    self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

  def compile(self, jitted: jax.stages.Wrapped, *args) -> Callable:
    """Compiles a jitted function for arguments and records the time.

    With JAX_DISABLE_JIT it returns the function, which runs uncompiled.
    """
    if jax.config.values["jax_disable_jit"]:
      return jitted
    start = time.perf_counter()
    compiled = jitted.lower(*args).compile()
    release_freed_memory()
    # The interval excludes the compilation.
    self._start, self._waited = time.perf_counter(), 0.0
    self._once["compile_seconds"] = self._start - start
    return compiled

  def time_batches(self, batches: Iterable[T]) -> Generator[T, None, None]:
    """Yields the batches and measures the waiting time for each of them."""
    iterator = iter(batches)
    while True:
      start = time.perf_counter()
      try:
        batch = next(iterator)
      except StopIteration:
        return
      self._waited += time.perf_counter() - start
      self._steps += 1
      yield batch

  def read(self) -> dict[str, float]:
    """Returns the metrics of the interval and begins a new interval."""
    seconds = time.perf_counter() - self._start
    metrics = {
      "images_per_second": self._steps * self.batch_size / seconds,
      "input_wait_share": self._waited / seconds,
    }
    if self.flops_per_step and self.peak_flops:
      flops = self._steps * self.flops_per_step
      metrics["model_flops_utilization"] = flops / seconds / self.peak_flops
    metrics |= peak_memory() | self._once
    self._once = {}
    self._restart()
    return metrics


def peak_memory() -> dict[str, float]:
  """Returns the peak memory so far in GiB; see `PerformanceMetrics`."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peaks = [each["peak_bytes_in_use"] for each in stats if each]
  if peaks:
    return {"device_peak_gib": max(peaks) / 2**30}
  resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {"host_peak_gib": resident / 2**20}


@dataclasses.dataclass(frozen=True)
class Profile:
  """Range of steps to trace.

  Attributes:
    start: first step, at least 1.
    stop: last step, included.
  """

  start: int
  stop: int

  @classmethod
  def parse(cls, text: str) -> "Profile":
    """Parses "START:STOP".

    Raises:
      UsageError: the text is not two steps with 1 <= START <= STOP.
    """
    parts = text.split(":")
    if len(parts) == 2 and all(part.isdecimal() for part in parts):
      profile = cls(*map(int, parts))
      if 1 <= profile.start <= profile.stop:
        return profile
    raise UsageError(
      f"--profile is {text!r}; expected the first and the last step to trace, "
      "such as 100:105"
    )


class Tracer:
  """Traces the steps of a profile.

  Args:
    profile: the steps; None traces nothing.
    folder: where the trace is written, for TensorBoard or Perfetto; on disk or
      in a bucket.
  """

  def __init__(self, profile: Profile | None, folder: StrPath):
    self.profile, self.folder, self._tracing = profile, as_path(folder), False
    self._local = os.fspath(folder)
    if profile is not None and is_remote(folder):
      self._local = tempfile.mkdtemp(prefix="get_jax_profile_")
      weakref.finalize(self, shutil.rmtree, self._local, ignore_errors=True)

  @contextlib.contextmanager
  def step(self, number: int, state: PyTree) -> Iterator[None]:
    """Context around the dispatch of a step; starts the trace if it is due.

    Args:
      number: number of the step, from 1.
      state: input of the step; a trace starts when it is computed.
    """
    due = self.profile and self.profile.start <= number <= self.profile.stop
    if due and not self._tracing:
      jax.block_until_ready(state)
      jax.profiler.start_trace(self._local)
      self._tracing = True
    with jax.profiler.StepTraceAnnotation("train", step_num=number):
      yield

  def stop_after(self, number: int, output: PyTree) -> None:
    """Ends the trace if the step was its last one.

    Args:
      number: number of the step.
      output: output of the step; the trace ends when it is computed.
    """
    if self._tracing and self.profile and number >= self.profile.stop:
      jax.block_until_ready(output)
      self.close()

  def close(self) -> None:
    """Ends the trace, also before its last step."""
    if self._tracing:
      jax.profiler.stop_trace()
      self._tracing = False
      if is_remote(self.folder):
        for file in pathlib.Path(self._local).rglob("*"):
          if file.is_file():
            name = file.relative_to(self._local)
            write_bytes(self.folder / name, file.read_bytes())
