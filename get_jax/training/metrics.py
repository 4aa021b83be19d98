"""Metric writers: JSON lines, and TensorBoard if tensorboardX is installed.

The writers have the interface of `clu.metric_writers`, which cannot be imported
without TensorFlow. If TensorFlow is installed, a clu writer can be used
instead.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np


class MetricWriter(Protocol):
  """Interface of the writers."""

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step."""

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes the images of a step, uint8 (B, H, W, C)."""

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes the texts of a step, in Markdown."""

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Writes the hyper-parameters, by which runs are compared."""

  def flush(self) -> None:
    """Writes buffered data to disk."""

  def close(self) -> None:
    """Flushes and closes the writer."""


class JsonWriter:
  """Appends one JSON object per line to a file, each with its `step`.

  Args:
    path: the file.
  """

  def __init__(self, path: str | pathlib.Path):
    self.path = pathlib.Path(path)
    self._file = self.path.open("a", encoding="utf-8")

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Appends a line with the scalars of a step, in their order."""
    values = {name: float(value) for name, value in scalars.items()}
    self._file.write(json.dumps({"step": int(step), **values}) + "\n")

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Does nothing: the file holds no images."""

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Does nothing: the file holds no texts."""

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Does nothing: `config.json` has them."""

  def flush(self) -> None:
    """Writes buffered data to disk, with fsync."""
    self._file.flush()
    os.fsync(self._file.fileno())

  def close(self) -> None:
    """Flushes and closes the file."""
    self.flush()
    self._file.close()


class TensorBoardWriter:
  """Writes TensorBoard events with tensorboardX, which needs no TensorFlow.

  Args:
    directory: folder of the event files.
    start_step: number of updates done; TensorBoard leaves out what an
      interrupted run has written after it.

  Raises:
    ImportError: tensorboardX is not installed.
  """

  def __init__(self, directory: str | pathlib.Path, start_step: int = 0):
    from tensorboardX import SummaryWriter

    purge_step = start_step + 1 if start_step else None
    self._writer = SummaryWriter(str(directory), purge_step=purge_step)

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step."""
    for name, value in scalars.items():
      self._writer.add_scalar(name, float(value), int(step))

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes the images of a step, uint8 (B, H, W, C)."""
    for name, batch in images.items():
      self._writer.add_images(name, batch, int(step), dataformats="NHWC")

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes the texts of a step, in Markdown."""
    for name, text in texts.items():
      self._writer.add_text(name, text, int(step))

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Writes the hyper-parameters for TensorBoard's table that compares runs.

    The table shows the loss of each run. Values other than numbers, booleans
    and strings are written as text.

    Args:
      hparams: values by name.
    """
    from tensorboardX.summary import hparams as hparams_summaries

    values = {
      name: value if isinstance(value, bool | int | float | str) else str(value)
      for name, value in hparams.items()
    }
    experiment, session, _ = hparams_summaries(values, {"loss": None})
    for summary in (experiment, session):
      self._writer.file_writer.add_summary(summary)

  def flush(self) -> None:
    """Writes buffered data to disk."""
    self._writer.flush()

  def close(self) -> None:
    """Flushes and closes the event file."""
    self._writer.close()


class MultiWriter:
  """Forwards every call to several writers."""

  def __init__(self, *writers: MetricWriter):
    self.writers = writers

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step to each writer."""
    for writer in self.writers:
      writer.write_scalars(step, scalars)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes the images of a step to each writer, uint8 (B, H, W, C)."""
    for writer in self.writers:
      writer.write_images(step, images)

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes the texts of a step to each writer, in Markdown."""
    for writer in self.writers:
      writer.write_texts(step, texts)

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Writes the hyper-parameters to each writer."""
    for writer in self.writers:
      writer.write_hparams(hparams)

  def flush(self) -> None:
    """Flushes each writer."""
    for writer in self.writers:
      writer.flush()

  def close(self) -> None:
    """Closes each writer."""
    for writer in self.writers:
      writer.close()


def create_writer(
  workdir: str | os.PathLike[str], start_step: int
) -> MultiWriter:
  """Creates the writers of a run that starts or resumes after a step.

  Lines after that step, and an incomplete last line, remain from before an
  interruption. They are removed, so that the file has neither gaps nor
  duplicates. Only process 0 writes; the other processes get a writer that does
  nothing.

  Args:
    workdir: folder of the run; metrics go to `metrics.jsonl` and
      `tensorboard/`.
    start_step: number of updates done.
  """
  if jax.process_index():
    return MultiWriter()
  workdir = pathlib.Path(workdir)
  path = workdir / "metrics.jsonl"
  _truncate(path, start_step)
  writers: list[MetricWriter] = [JsonWriter(path)]
  try:
    writers.append(TensorBoardWriter(workdir / "tensorboard", start_step))
  except ImportError:
    pass
  return MultiWriter(*writers)


def read_metrics(workdir: str | pathlib.Path) -> list[dict[str, float]]:
  """Returns the metric lines of a run, in order, without incomplete lines."""
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
