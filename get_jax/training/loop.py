"""The training loop: batches in, checkpoints and metric lines out.

Order of events, which makes a resumed run equal to an uninterrupted one: after
update s the line of s is written (if due), then checkpoint s is saved (if due).
A run restored from checkpoint s drops the lines after s and goes on with
batch(s).
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable

import jax
from tqdm import tqdm

from get_jax.training.checkpoints import Checkpoints
from get_jax.training.metrics import create_writer
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.training.profiling import PerformanceMetrics, Profile, Tracer
from get_jax.training.sharding import batch_sharding, to_mesh
from get_jax.training.state import TrainState

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Schedule:
  """When things happen, in steps.

  Zero means: at the last step only. `log_every` is at least 1.
  """

  num_steps: int
  log_every: int
  checkpoint_every: int
  preview_every: int = 0

  def due(self, step: int, every: int) -> bool:
    """Whether something of period `every` is due after update `step`."""
    return step == self.num_steps or (bool(every) and step % every == 0)


def fit(
  workdir,
  state: TrainState,
  train_step: Callable[[TrainState, dict], tuple[TrainState, jax.Array]],
  pipeline,
  mesh: jax.sharding.Mesh,
  schedule: Schedule,
  keep_checkpoints: int = 2,
  preview: Callable[[TrainState, int], None] | None = None,
  name: str = "train",
  performance: PerformanceMetrics | None = None,
  profile: Profile | None = None,
) -> TrainState:
  """Trains from `state`, or from the last good checkpoint in `workdir`.

  Args:
    workdir: folder of the run.
    state: a fresh state; its buffers are given up.
    train_step: a pure function (state, batch) -> (state, first bad step).
    pipeline: has `batches(start, stop)` and `batch_size`.
    mesh: the device mesh.
    schedule: when to log, save and preview.
    keep_checkpoints: how many of the last checkpoints stay.
    preview: `preview(state, step)`, called when due.
    name: shown in the progress bar.
    performance: what measures the run; None measures without utilisation.
    profile: steps to trace into `<workdir>/profile`.

  Returns:
    The state after the last step.

  Raises:
    FloatingPointError: the loss or a gradient was not finite.
    Stopped: a signal came; the state is saved.
  """
  first = jax.process_index() == 0
  performance = performance or PerformanceMetrics(pipeline.batch_size)
  placing = jax.tree.map(lambda x: x.sharding, state)
  jitted = jax.jit(
    train_step,
    in_shardings=(placing, batch_sharding(mesh)),
    out_shardings=(placing, None),
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
      contextlib.closing(create_writer(workdir, start)) as writer,
      tqdm(
        total=last, initial=start, desc=name, unit="step", disable=not first
      ) as bar,
      handle_stop_signals() as stop_requested,
      jax.set_mesh(mesh),
      contextlib.closing(Tracer(profile, f"{workdir}/profile")) as tracer,
    ):
      previous_bad, compiled = state.bad_step + 0, None
      batches = performance.watch(pipeline.batches(start, last))
      for step, batch in enumerate(batches, start + 1):
        batch = to_mesh(batch, mesh)
        if compiled is None:
          compiled = performance.compile(jitted, state, batch)
        with tracer.step(step, state):
          state, bad = compiled(state, batch)
        tracer.stop_after(step, bad)
        # One step late: the device has the next step before the host looks.
        _refuse_bad(previous_bad, checkpoints)
        previous_bad = bad
        stopping = stop_requested(f"{name}, step {step}")
        saving = stopping or schedule.due(step, schedule.checkpoint_every)
        logging_now = schedule.due(step, schedule.log_every)
        bar.update()
        if saving or logging_now:
          _refuse_bad(bad, checkpoints)
        if logging_now:
          metrics = state.window_means(schedule.log_every)
          bar.set_postfix(loss=f"{metrics['loss']:.4f}", refresh=False)
          writer.write_scalars(step, {**metrics, **performance.read()})
        if saving:
          writer.flush()
          checkpoints.save(state)
        if stopping and step < last:
          checkpoints.wait()
          raise Stopped(f"{name} stopped after step {step} of {last}, saved")
        if preview and schedule.due(step, schedule.preview_every):
          # A signal cuts it short, and the next step is the last.
          with contextlib.suppress(Stopped):
            preview(state, step)
  return state


def _refuse_bad(bad_step: jax.Array, checkpoints: Checkpoints) -> None:
  if int(bad_step) >= 0:
    checkpoints.wait()
    good = checkpoints.latest_step
    kept = "none" if good is None else f"{good} in {checkpoints.directory}"
    raise FloatingPointError(
      f"the loss or its gradient is not finite at step {int(bad_step)}; "
      f"the last good checkpoint is {kept}"
    )
