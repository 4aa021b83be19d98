"""Data sets of TFDS from tfrecord to array_record, without TensorFlow.

The two hold the same bytes of every record; array_record has an index.
"""

import os
import pathlib
import struct
from collections.abc import Iterator

from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from get_jax.errors import UsageError

_HEADER = struct.Struct("<Q4x")  # length, and a checksum of it
_FOOTER = 4  # a checksum of the record


def records(path: str | os.PathLike[str]) -> Iterator[bytes]:
  """The records of a TFRecord file, in order.

  Raises:
    UsageError: the file is cut off.
  """
  with open(path, "rb") as file:
    while header := file.read(_HEADER.size):
      length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
      record = file.read(length + _FOOTER)
      if len(record) < length + _FOOTER or len(header) < _HEADER.size:
        raise UsageError(f"{path} ends within a record; expected it whole")
      yield record[:-_FOOTER]


def convert(builder) -> None:
  """Puts array_record files beside a prepared data set's tfrecord ones.

  Args:
    builder: of TFDS; its files stay, and its `dataset_info.json` names the new
      ones too.

  Raises:
    UsageError: a file is cut off or has another number of records.
  """
  from tensorflow_datasets.core.dataset_info import write_dataset_info_proto

  info = builder.info
  for name, split in info.splits.items():
    template = split.filename_template.replace(filetype_suffix="array_record")
    targets = template.sharded_filepaths(split.num_shards)
    files = zip(split.filepaths, targets, split.shard_lengths, strict=True)
    for source, target, count in tqdm(list(files), f"converting {name}"):
      _convert_file(source, pathlib.Path(target), count)
  info.add_alternative_file_format("array_record")
  write_dataset_info_proto(info.as_proto, dataset_info_dir=builder.data_path)


def _convert_file(source, target: pathlib.Path, count: int) -> None:
  if target.exists():  # of a conversion that was stopped
    return
  temporary = target.with_name(f"{target.name}.tmp")
  writer = ArrayRecordWriter(str(temporary), "group_size:1")
  written = 0
  for record in records(source):
    writer.write(record)
    written += 1
  writer.close()
  if written != count:
    raise UsageError(f"{source} has {written} records; expected {count}")
  temporary.rename(target)
