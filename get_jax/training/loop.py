"""The training loop: runs steps, writes metric lines and saves checkpoints.

The order of events makes a resumed run equal to an uninterrupted one. After
update s, first the metric line of s is written (if due), then the preview of s,
and then checkpoint s is saved (if due). A run restored from checkpoint s
removes the lines after s and continues with batch(s).
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from typing import Protocol

import jax
import numpy as np
from jaxtyping import Array, Int, UInt8

from get_jax.hardware.host_memory import release_freed_memory
from get_jax.progress import ProgressBar
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.metrics import MetricWriter, create_writer
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.training.profiling import PerformanceMetrics, Profile, Tracer
from get_jax.training.sharding import batch_sharding, make_global_batch
from get_jax.training.state import TrainState

log = logging.getLogger(__name__)

MAX_SKIPPED = 9  # steps in a row, see `fit`


@dataclasses.dataclass(frozen=True)
class Schedule:
  """Periods of the events of a run, in steps.

  An event with period 0 happens only at the last step.

  Attributes:
    num_steps: number of steps of the run.
    log_every: period of metric lines, at least 1.
    checkpoint_every: period of checkpoints.
    preview_every: period of previews.
  """

  num_steps: int
  log_every: int
  checkpoint_every: int
  preview_every: int = 0

  def due(self, step: int, every: int) -> bool:
    """Returns whether an event with period `every` is due after `step`."""
    return step == self.num_steps or (bool(every) and step % every == 0)


# From a state and its step to the picture of a preview.
Preview = Callable[[TrainState, int], UInt8[np.ndarray, "H W 3"]]
# From a workdir and the number of updates done to the writer of the rest.
OpenWriter = Callable[[str | os.PathLike[str], int], MetricWriter]


class Batches(Protocol):
  """Source of batches, such as `get_jax.data.Pipeline`."""

  @property
  def batch_size(self) -> int:
    """Size of the global batch."""

  def batches(self, start: int, stop: int) -> Iterator[dict]:
    """Yields this process's rows of the batches of steps start to stop - 1."""


def fit(
  workdir: str | os.PathLike[str],
  state: TrainState,
  train_step: Callable[[TrainState, dict], tuple[TrainState, Int[Array, ""]]],
  pipeline: Batches,
  mesh: jax.sharding.Mesh,
  schedule: Schedule,
  keep_checkpoints: int = 2,
  preview: Preview | None = None,
  name: str = "train",
  performance: PerformanceMetrics | None = None,
  profile: Profile | None = None,
  open_writer: OpenWriter = create_writer,
  max_skipped: int = 0,
) -> TrainState:
  """Trains from `state`, or from the last valid checkpoint in `workdir`.

  Args:
    workdir: folder of the run.
    state: an initial state; its buffers are donated.
    train_step: pure function (state, batch) -> (state, first bad step), from
      `make_train_step`.
    pipeline: source of the batches.
    mesh: the device mesh.
    schedule: when to log, to save checkpoints and to make previews.
    keep_checkpoints: number of checkpoints to keep; older ones are deleted.
    preview: makes a picture of the state when due; the metric writer gets it.
    name: label of the progress bar and of messages.
    performance: performance metrics; None measures them without
      "model_flops_utilization".
    profile: steps to trace into `<workdir>/profile`; None traces nothing.
    open_writer: opens the metric writer.
    max_skipped: number of steps in a row that may be bad, if `train_step` skips
      them; one more stops the run.

  Returns:
    The state after the last step.

  Raises:
    FloatingPointError: the loss or a gradient is not finite.
    Stopped: SIGTERM or SIGINT was received; the state is saved.
  """
  is_main = jax.process_index() == 0
  performance = performance or PerformanceMetrics(pipeline.batch_size)
  state_shardings = jax.tree.map(lambda x: x.sharding, state)
  jitted = jax.jit(
    train_step,
    in_shardings=(state_shardings, batch_sharding(mesh)),
    out_shardings=(state_shardings, None),
    donate_argnums=0,
  )
  with Checkpoints(f"{workdir}/checkpoints", keep_checkpoints) as checkpoints:
    restored = checkpoints.restore(state)
    if restored is not None:
      state = restored
      log.info("%s: resuming after step %d", name, int(state.step))
    start, last = int(state.step), schedule.num_steps
    if start >= last:
      return state
    with (
      contextlib.closing(open_writer(workdir, start)) as writer,
      ProgressBar(
        total=last, initial=start, desc=name, unit="step", disable=not is_main
      ) as bar,
      handle_stop_signals() as stop_requested,
      jax.set_mesh(mesh),
      contextlib.closing(Tracer(profile, f"{workdir}/profile")) as tracer,
      contextlib.closing(
        performance.time_batches(pipeline.batches(start, last))
      ) as batches,
    ):
      check = _BadSteps(name, checkpoints, max_skipped, is_main)
      previous_bad, compiled = state.bad_step + 0, None
      for step, batch in enumerate(batches, start + 1):
        batch = make_global_batch(batch, mesh)
        if compiled is None:
          compiled = performance.compile(jitted, state, batch)
        with tracer.step(step, state):
          state, bad = compiled(state, batch)
        tracer.stop_after(step, bad)
        # One step late, so that the device already has its next step while the
        # host waits for this value.
        check(previous_bad)
        previous_bad = bad
        stopping = stop_requested(f"{name}, step {step}")
        saving = stopping or schedule.due(step, schedule.checkpoint_every)
        logging_now = schedule.due(step, schedule.log_every)
        if saving or logging_now:
          check(bad)
        if logging_now:
          metrics = state.window_means(schedule.log_every)
          bar.set_postfix(loss=f"{metrics['loss']:.4f}", refresh=False)
          writer.write_scalars(step, {**metrics, **performance.read()})
        bar.update()
        if preview and schedule.due(step, schedule.preview_every):
          # A signal interrupts the preview; the next step is then the last.
          with contextlib.suppress(Stopped):
            picture = preview(state, step)
            release_freed_memory()
            writer.write_images(step, {"samples": picture[None]})
        if saving:
          writer.flush()
          checkpoints.save(state)
        if stopping and step < last:
          checkpoints.wait()
          raise Stopped(f"{name} after step {step} of {last}, saved")
  return state


class _BadSteps:
  """Stops a run whose loss or gradient is not finite, or counts skipped steps.

  Args:
    name: label of the run.
    checkpoints: checkpoints of the run.
    max_skipped: see `fit`.
    is_main: whether this process writes messages.
  """

  def __init__(
    self, name: str, checkpoints: Checkpoints, max_skipped: int, is_main: bool
  ):
    self._name, self._checkpoints = name, checkpoints
    self._max_skipped, self._is_main = max_skipped, is_main
    self._last, self._count = -1, 0

  def __call__(self, bad_step: jax.Array) -> None:
    """Handles the result of a step, which may be passed several times.

    Raises:
      FloatingPointError: the step is bad, and as many as allowed were skipped.
    """
    step = int(bad_step)
    if step in (-1, self._last):
      return
    self._count = self._count + 1 if step == self._last + 1 else 1
    self._last = step
    if self._count <= self._max_skipped:
      if self._is_main:
        log.warning(
          "%s: step %d is skipped: the loss or its gradient is not finite",
          self._name,
          step,
        )
      return
    self._checkpoints.wait()
    saved = self._checkpoints.latest_step
    where = "none"
    if saved is not None:
      where = f"{saved} in {self._checkpoints.directory}"
    before = f" and the {self._count - 1} before" if self._count > 1 else ""
    raise FloatingPointError(
      f"the loss or its gradient is not finite at step {step}{before}; "
      f"the last good checkpoint is {where}"
    )
