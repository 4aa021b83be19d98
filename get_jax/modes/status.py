"""--mode=status: shows how far a run is, without changing anything."""

import math
import time
from collections.abc import Iterator, Sequence

from get_jax.jobs.durations import format_seconds
from get_jax.jobs.run_status import RunStatus, Stage, read_status

BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 40  # characters


def run(workdir: str) -> None:
  """Prints progress, losses, pictures and checkpoints of a run.

  It needs no config and no accelerator, and writes nothing.

  Args:
    workdir: folder of the run.

  Raises:
    UsageError: the folder does not exist or holds no run.
  """
  for line in describe(read_status(workdir), time.time()):
    print(line)


def describe(status: RunStatus, now: float) -> Iterator[str]:
  """Yields the lines on a run.

  Args:
    status: how far the run is.
    now: seconds since the epoch.
  """
  config, workdir = status.config, status.workdir
  unfinished = [stage for stage in status.stages if not stage.finished]
  current = unfinished[0] if unfinished else None
  if status.writer is not None:
    state = f"in use by {status.writer}"
  elif current is None:
    state = "finished"
  else:
    state = "not running; the command that started it resumes it"
  yield f"{workdir}: {config.model.name}, {config.task}, {state}"
  width = max(len("checkpoints"), *(len(s.name) for s in status.stages)) + 2
  for stage in status.stages:
    running = stage is current and status.writer is not None
    yield f"{stage.name:{width}}{_progress(stage, running, now)}"
    if stage.losses:
      line = f"{sparkline(stage.losses)} {stage.losses[-1]:.4g}"
      yield f"{'':{width}}loss {line}"
  for count, process in status.evaluations:
    yield f"{'scores':{width}}{count:,} images have features, {process}"
  rows = {
    "checkpoints": [", ".join(map(str, status.checkpoints)) or "none"],
    "pictures": [
      f"{path} ({_ago(now - modified)})" for path, modified in status.pictures
    ],
    "results": [str(path) for path in status.results],
  }
  for name, values in rows.items():
    for i, value in enumerate(values or ["none"]):
      yield f"{'' if i else name:{width}}{value}"


def sparkline(values: Sequence[float], width: int = SPARKLINE_WIDTH) -> str:
  """Returns the last values as a line of blocks, lowest to highest.

  Args:
    values: the values; those that are not finite are left blank.
    width: number of values to show, at most.
  """
  shown = values[-width:]
  finite = [value for value in shown if math.isfinite(value)]
  low, high = min(finite, default=0.0), max(finite, default=0.0)
  scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
  return "".join(
    BLOCKS[round((value - low) * scale)] if math.isfinite(value) else " "
    for value in shown
  )


def _progress(stage: Stage, running: bool, now: float) -> str:
  """Returns how far a stage is as a phrase."""
  total = f"{stage.total:,} {stage.unit}{'' if stage.total == 1 else 's'}"
  if stage.finished:
    return f"done, {total}"
  if not running and not stage.done:
    return f"not started, {total}"
  if not stage.done:
    return f"started, {total}"
  parts = [f"{stage.done:,} of {total} ({stage.done / stage.total:.0%})"]
  if running and stage.rate and stage.seconds_left is not None:
    parts.append(f"{stage.rate:,.3g} {stage.unit}s/s")
    parts.append(f"{format_seconds(stage.seconds_left)} left")
  if not running:
    parts.append(f"interrupted; {stage.saved:,} are saved")
  if stage.updated is not None:
    parts.append(f"updated {_ago(now - stage.updated)}")
  return ", ".join(parts)


def _ago(seconds: float) -> str:
  return f"{format_seconds(max(seconds, 0))} ago"
