"""Metrics and pictures as TensorBoard events."""

import os
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from get_jax.storage.paths import StrPath, as_path, is_remote, write_bytes

if TYPE_CHECKING:
  from tensorboardX import SummaryWriter


class TensorBoardWriter:
  """Writes TensorBoard events with tensorboardX, which needs no TensorFlow.

  A bucket has no append: there, each flush ends a file of events, of which
  TensorBoard reads any number.

  Args:
    directory: folder of the event files, on disk or in a bucket.
    start_step: number of updates done; TensorBoard leaves out what an
      interrupted run has written after it.

  Raises:
    ImportError: tensorboardX is not installed.
  """

  def __init__(self, directory: StrPath, start_step: int = 0):
    self._directory, self._local = as_path(directory), os.fspath(directory)
    if is_remote(directory):
      self._local = tempfile.mkdtemp(prefix="get_jax_tensorboard_")
      weakref.finalize(self, shutil.rmtree, self._local, ignore_errors=True)
    self._files = 0
    self._writer = self._open(start_step + 1 if start_step else None)

  def _open(self, purge_step: int | None = None) -> "SummaryWriter":
    from tensorboardX import SummaryWriter

    suffix = f".{self._files}" if self._files else ""
    self._files += 1
    return SummaryWriter(
      self._local, purge_step=purge_step, filename_suffix=suffix
    )

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
    """Writes buffered data to disk or to the bucket."""
    if not is_remote(self._directory):
      self._writer.flush()
      return
    self.close()
    self._writer = self._open()

  def close(self) -> None:
    """Flushes and closes the event file."""
    self._writer.close()
    if is_remote(self._directory):
      for file in sorted(pathlib.Path(self._local).iterdir()):
        write_bytes(self._directory / file.name, file.read_bytes())
        file.unlink()
