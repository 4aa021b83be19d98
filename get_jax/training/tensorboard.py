"""Metrics and pictures as TensorBoard events; needs tensorboardX."""

import itertools
import os
import pathlib
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from get_jax.storage.paths import StrPath, as_path, is_remote, write_bytes

_NUMBERS = itertools.count()  # of the files of this process


class TensorBoardWriter:
  """Writes TensorBoard events with tensorboardX, which needs no TensorFlow.

  Its own writer uses a thread. If that fails, because the disk is full for
  example, later calls wait for it for ever; here, they raise the error.

  A bucket has no append: there, each flush ends a file of events, of which
  TensorBoard reads any number.

  Args:
    directory: folder of the event files, on disk or in a bucket.
    start_step: number of updates done; TensorBoard leaves out what an
      interrupted run has written after it.
  """

  def __init__(self, directory: StrPath, start_step: int = 0):
    self._directory, self._local = as_path(directory), os.fspath(directory)
    if is_remote(directory):
      self._local = tempfile.mkdtemp(prefix="get_jax_tensorboard_")
      weakref.finalize(self, shutil.rmtree, self._local, ignore_errors=True)
    self._open()
    if start_step:
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      step = start_step + 1
      self._write(step, file_version="brain.Event:2")
      self._write(step, session_log=start)

  def _open(self) -> None:
    # Two runs that start in the same second have different files.
    suffix = f".{os.getpid()}.{next(_NUMBERS):06d}"
    pathlib.Path(self._local).mkdir(parents=True, exist_ok=True)
    prefix = os.path.join(self._local, "events")
    self._writer = EventsWriter(prefix, suffix)

  def _write(self, step: int, **values: Any) -> None:
    event = event_pb2.Event(step=step, wall_time=time.time(), **values)
    self._writer.write_event(event)

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step."""
    for name, value in scalars.items():
      self._write(int(step), summary=summary.scalar(name, float(value)))

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes the images of a step, uint8 (B, H, W, C)."""
    for name, batch in images.items():
      images_of_name = summary.image(name, batch, dataformats="NHWC")
      self._write(int(step), summary=images_of_name)

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes the texts of a step, in Markdown."""
    for name, text in texts.items():
      self._write(int(step), summary=summary.text(name, text))

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Writes the hyper-parameters for TensorBoard's table that compares runs.

    The table shows the loss of each run. Values other than numbers, booleans
    and strings are written as text.

    Args:
      hparams: values by name.
    """
    values = {
      name: value if isinstance(value, bool | int | float | str) else str(value)
      for name, value in hparams.items()
    }
    experiment, session, _ = summary.hparams(values, {"loss": None})
    self._write(0, summary=experiment)
    self._write(0, summary=session)

  def flush(self) -> None:
    """Writes buffered data to disk or to the bucket."""
    if not is_remote(self._directory):
      self._writer.flush()
      return
    self.close()
    self._open()

  def close(self) -> None:
    """Flushes and closes the event file."""
    self._writer.close()
    if is_remote(self._directory):
      for file in sorted(pathlib.Path(self._local).iterdir()):
        write_bytes(self._directory / file.name, file.read_bytes())
        file.unlink()
