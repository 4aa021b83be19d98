"""Metric writers: JSON lines, and TensorBoard if tensorboardX is installed.

The writers have the interface of `clu.metric_writers`, which cannot be imported
without TensorFlow. If TensorFlow is installed, a clu writer can be used
instead.
"""

import contextlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

import jax
import numpy as np

from get_jax.errors import UsageError
from get_jax.storage.json_files import parse_json
from get_jax.storage.paths import StrPath, as_path, is_remote, write_text

METRICS = "metrics.jsonl"


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
  """Adds one JSON object per line to a file, each with its `step`.

  On disk lines are appended. A bucket has no append, so there the file is
  written whole at each flush, of which there is one before each checkpoint.

  Args:
    path: the file.
    lines: lines that the file has.
  """

  def __init__(self, path: StrPath, lines: Sequence[str] = ()):
    self.path = as_path(path)
    self._lines = [*lines]
    self._file: IO[str] | None = None
    if not is_remote(self.path):
      self._file = open(self.path, "a", encoding="utf-8")

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Adds a line with the scalars of a step, in their order."""
    values = {name: float(value) for name, value in scalars.items()}
    line = json.dumps({"step": int(step), **values}) + "\n"
    if self._file is None:
      self._lines.append(line)
    else:
      self._file.write(line)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Does nothing: the file holds no images."""

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Does nothing: the file holds no texts."""

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Does nothing: `config.json` has them."""

  def flush(self) -> None:
    """Writes buffered data to disk, with fsync, or to the bucket.

    Raises:
      UsageError: the file was removed, so that its lines would be lost.
    """
    if self._file is None:
      write_text(self.path, "".join(self._lines))
      return
    if not self.path.exists():
      raise UsageError(
        f"{self.path} was removed during the run; the same command continues "
        "from the last checkpoint"
      )
    self._file.flush()
    os.fsync(self._file.fileno())

  def close(self) -> None:
    """Flushes and closes the file."""
    self.flush()
    if self._file is not None:
      self._file.close()


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
    """Closes each writer, even if one of them raises an error."""
    with contextlib.ExitStack() as stack:
      for writer in reversed(self.writers):
        stack.callback(writer.close)


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
  folder = as_path(workdir)
  lines = [
    json.dumps(record) + "\n"
    for record in read_metrics(folder)
    if record["step"] <= start_step
  ]
  write_text(folder / METRICS, "".join(lines))
  writers: list[MetricWriter] = [JsonWriter(folder / METRICS, lines)]
  if importlib.util.find_spec("tensorboardX") is not None:
    from get_jax.training.tensorboard import TensorBoardWriter

    writers.append(TensorBoardWriter(folder / "tensorboard", start_step))
  return MultiWriter(*writers)


def read_metrics(workdir: StrPath) -> list[dict[str, float]]:
  """Returns the metric lines of a run, in order.

  Lines that are incomplete or damaged are left out.
  """
  path = as_path(workdir) / METRICS
  lines = path.read_bytes().splitlines() if path.exists() else []
  records = []
  for line in lines:
    try:
      record = parse_json(line)
    except ValueError:
      continue
    if _is_record(record):
      records.append(record)
  return records


def _is_record(record: Any) -> bool:
  """Returns whether a line holds a step and numbers, as it was written."""
  return (
    isinstance(record, dict)
    and type(record.get("step")) is int
    and 0 <= record["step"] < 2**63
    and all(map(_is_number, record.values()))
  )


def _is_number(value: Any) -> bool:
  if type(value) is int:
    return abs(value) < 2**63
  return type(value) is float
