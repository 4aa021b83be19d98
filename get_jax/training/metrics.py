"""Where a run writes its numbers: JSON lines always, TensorBoard when there.

The interface is that of `clu.metric_writers`, which cannot be imported without
TensorFlow; where TensorFlow is at hand a clu writer can be used instead.
"""

import json
import os
import pathlib
from collections.abc import Mapping

import jax
import numpy as np


class JsonWriter:
  """Appends one JSON object a line, each with its `step`."""

  def __init__(self, path: str | pathlib.Path):
    self.path = pathlib.Path(path)
    self._file = self.path.open("a", encoding="utf-8")

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step, in the given order."""
    values = {name: float(value) for name, value in scalars.items()}
    self._file.write(json.dumps({"step": int(step), **values}) + "\n")

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Images are not kept in this file."""

  def flush(self) -> None:
    """Puts what was written on disk."""
    self._file.flush()
    os.fsync(self._file.fileno())

  def close(self) -> None:
    """Flushes and closes."""
    self.flush()
    self._file.close()


class TensorBoardWriter:
  """TensorBoard events through tensorboardX (which needs no TensorFlow)."""

  def __init__(self, directory: str | pathlib.Path):
    from tensorboardX import SummaryWriter

    self._writer = SummaryWriter(str(directory))

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step."""
    for name, value in scalars.items():
      self._writer.add_scalar(name, float(value), int(step))

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes uint8 images (B, H, W, C) of a step."""
    for name, batch in images.items():
      self._writer.add_images(name, batch, int(step), dataformats="NHWC")

  def flush(self) -> None:
    """Puts what was written on disk."""
    self._writer.flush()

  def close(self) -> None:
    """Flushes and closes."""
    self._writer.close()


class MultiWriter:
  """Writes to several writers at once."""

  def __init__(self, *writers):
    self.writers = writers

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step to each."""
    for writer in self.writers:
      writer.write_scalars(step, scalars)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes uint8 images (B, H, W, C) of a step to each."""
    for writer in self.writers:
      writer.write_images(step, images)

  def flush(self) -> None:
    """Flushes each."""
    for writer in self.writers:
      writer.flush()

  def close(self) -> None:
    """Closes each."""
    for writer in self.writers:
      writer.close()


def create_writer(workdir: str | pathlib.Path, start_step: int) -> MultiWriter:
  """The writers of a run that starts, or resumes, after `start_step` updates.

  Lines of a former life of the run beyond that step, and a line cut short by
  its end, are removed, so that the file has no gap and no double. Of several
  processes the first writes, the others nothing.
  """
  if jax.process_index():
    return MultiWriter()
  workdir = pathlib.Path(workdir)
  path = workdir / "metrics.jsonl"
  _truncate(path, start_step)
  writers = [JsonWriter(path)]
  try:
    writers.append(TensorBoardWriter(workdir / "tensorboard"))
  except ImportError:
    pass
  return MultiWriter(*writers)


def read_metrics(workdir: str | pathlib.Path) -> list[dict[str, float]]:
  """The metric lines of a run, in order; a line cut short is left out."""
  path = pathlib.Path(workdir) / "metrics.jsonl"
  lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
  records = []
  for line in lines:
    try:
      records.append(json.loads(line))
    except json.JSONDecodeError:
      continue
  return records


def _truncate(path: pathlib.Path, last_step: int) -> None:
  if not path.exists():
    return
  kept = [r for r in read_metrics(path.parent) if r["step"] <= last_step]
  temporary = path.with_suffix(".tmp")
  temporary.write_text("".join(json.dumps(r) + "\n" for r in kept), "utf-8")
  temporary.replace(path)
