"""Converts prepared TFDS data sets from tfrecord to array_record.

Both formats hold the same bytes per record; array_record adds an index. The
conversion does not need TensorFlow.
"""

import contextlib
import os
import pathlib
import shutil
import struct
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from array_record.python.array_record_module import ArrayRecordWriter

from get_jax.errors import UsageError
from get_jax.progress import ProgressBar
from get_jax.storage.paths import Path, as_path, atomic_writer, is_remote
from get_jax.storage.random_access import open_file

if TYPE_CHECKING:
  import tensorflow_datasets as tfds

_HEADER = struct.Struct(
  "<Q4x"
)  # the record's length, and the length's checksum
_FOOTER_SIZE = 4  # checksum of the record


def read_tfrecord(path: str | os.PathLike[str]) -> Iterator[bytes]:
  """Yields the records of a TFRecord file in order.

  Raises:
    UsageError: the file is truncated.
  """
  opened = open_file(path)
  with opened.open() as file:
    while header := file.read(_HEADER.size):
      length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
      # A damaged length does not make the reader ask for more than there is.
      record = file.read(min(length, opened.size) + _FOOTER_SIZE)
      complete = len(record) == length + _FOOTER_SIZE
      if not complete or len(header) < _HEADER.size:
        raise UsageError(f"{path} ends within a record; expected it whole")
      yield record[:-_FOOTER_SIZE]


def convert(builder: "tfds.core.DatasetBuilder") -> None:
  """Adds array_record files to a data set that is prepared as tfrecord.

  The tfrecord files are kept. `dataset_info.json` lists the new format too.

  Args:
    builder: the builder of the prepared data set.

  Raises:
    UsageError: a file is truncated or has an unexpected number of records.
  """
  from tensorflow_datasets.core.dataset_info import write_dataset_info_proto

  info = builder.info
  for name, split in info.splits.items():
    template = split.filename_template.replace(filetype_suffix="array_record")
    targets = template.sharded_filepaths(split.num_shards)
    files = zip(split.filepaths, targets, split.shard_lengths, strict=True)
    for source, target, count in ProgressBar(list(files), f"converting {name}"):
      _convert_file(source, as_path(target), count)
  info.add_alternative_file_format("array_record")
  write_dataset_info_proto(info.as_proto, dataset_info_dir=builder.data_path)


def _convert_file(
  source: str | os.PathLike[str], target: Path, count: int
) -> None:
  if target.exists():  # written by an earlier, interrupted conversion
    return
  with _local_target(target) as path:
    writer = ArrayRecordWriter(str(path), "group_size:1")
    written = 0
    for record in read_tfrecord(source):
      writer.write(record)
      written += 1
    writer.close()
    if written != count:
      raise UsageError(f"{source} has {written} records; expected {count}")


@contextlib.contextmanager
def _local_target(target: Path) -> Iterator[pathlib.Path]:
  """Yields a file on disk that becomes `target`, unless the context fails."""
  if is_remote(target):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, target.name)
      yield path
      with path.open("rb") as file, atomic_writer(target) as copy:
        shutil.copyfileobj(file, copy, 2**20)
    return
  path = pathlib.Path(target.with_name(f"{target.name}.tmp"))
  yield path
  path.rename(target)
