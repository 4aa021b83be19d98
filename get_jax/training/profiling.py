"""What a metric line says about the machine: speed, waiting, memory."""

import contextlib
import dataclasses
import pathlib
import resource
import time
from collections.abc import Iterable, Iterator

import jax

from get_jax.errors import UsageError

# Names in metric lines that differ between two runs of the same experiment.
PERFORMANCE_KEYS = (
  "images_per_second",
  "input_wait_share",
  "model_flops_utilization",
  "device_peak_gib",
  "host_peak_gib",
  "compile_seconds",
)


class PerformanceMetrics:
  """Figures since the last metric line.

    images_per_second: over all devices.
    input_wait_share: of the time, waiting for the next batch on the host.
    model_flops_utilization: operations that the network needs, over what the
      devices could have done at their peak in bfloat16; left out where one of
      the two is not known.
    device_peak_gib: most memory in use so far on one device of this process;
      where devices do not say (CPU), host_peak_gib: of the process.
    compile_seconds: of the step, once.

  Args:
    batch_size: images in a step.
    operations: that the network needs in a step, over all devices.
    peak: operations that all devices can do in a second.
  """

  def __init__(
    self,
    batch_size: int,
    operations: int | None = None,
    peak: float | None = None,
  ):
    self.batch_size, self.operations, self.peak = batch_size, operations, peak
    self._once = {}
    self._restart()

  def _restart(self):
    self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

  def compile(self, jitted, *args):
    """The compiled program of a jitted function for these arguments."""
    start = time.perf_counter()
    compiled = jitted.lower(*args).compile()
    # It is no part of the interval.
    self._start, self._waited = time.perf_counter(), 0.0
    self._once["compile_seconds"] = self._start - start
    return compiled

  def watch(self, batches: Iterable) -> Iterator:
    """The same batches, the wait for each of them measured."""
    batches = iter(batches)
    while True:
      start = time.perf_counter()
      try:
        batch = next(batches)
      except StopIteration:
        return
      self._waited += time.perf_counter() - start
      self._steps += 1
      yield batch

  def read(self) -> dict[str, float]:
    """The figures; a new interval begins."""
    seconds = time.perf_counter() - self._start
    figures = {
      "images_per_second": self._steps * self.batch_size / seconds,
      "input_wait_share": self._waited / seconds,
    }
    if self.operations and self.peak:
      done = self._steps * self.operations
      figures["model_flops_utilization"] = done / seconds / self.peak
    figures |= peak_memory() | self._once
    self._once = {}
    self._restart()
    return figures


def peak_memory() -> dict[str, float]:
  """The most memory that was in use, in GiB, see `PerformanceMetrics`."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peaks = [each["peak_bytes_in_use"] for each in stats if each]
  if peaks:
    return {"device_peak_gib": max(peaks) / 2**30}
  resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {"host_peak_gib": resident / 2**20}


@dataclasses.dataclass(frozen=True)
class Profile:
  """Steps of which the profiler keeps a trace, both included."""

  start: int
  stop: int

  @classmethod
  def of(cls, text: str) -> "Profile":
    """From "START:STOP".

    Raises:
      UsageError: these are not two rising steps.
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
  """Traces the steps of a profile into a folder.

  Args:
    profile: None traces nothing.
    folder: for TensorBoard or Perfetto.
  """

  def __init__(self, profile: Profile | None, folder: str | pathlib.Path):
    self.profile, self.folder, self._on = profile, str(folder), False

  @contextlib.contextmanager
  def step(self, number: int, state) -> Iterator[None]:
    """Round the dispatch of a step; `state` is what it starts from."""
    due = self.profile and self.profile.start <= number <= self.profile.stop
    if due and not self._on:
      jax.block_until_ready(state)
      jax.profiler.start_trace(self.folder)
      self._on = True
    with jax.profiler.StepTraceAnnotation("train", step_num=number):
      yield

  def stop_after(self, number: int, state) -> None:
    """Ends the trace if that was its last step; waits for `state` then."""
    if self._on and number >= self.profile.stop:
      jax.block_until_ready(state)
      self.close()

  def close(self) -> None:
    """Ends the trace, however far it came."""
    if self._on:
      jax.profiler.stop_trace()
      self._on = False
