"""Reads records of ArrayRecord files by index, on disk and in buckets."""

import concurrent.futures
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from get_jax.storage.random_access import RandomAccessFile

# Records are read one at a time, so nothing is read ahead.
_OPTIONS = "readahead_buffer_size:0"
_BUFFER = 2**15  # bytes


class RecordFiles:
  """The records of some files, in order.

  A file is opened when it is first used. One in a bucket is downloaded whole
  then, because the library reads local files. Threads may share the object, and
  worker processes may receive it pickled.

  Args:
    files: the files.
    ranges: the records of each file to take; None takes all.

  Raises:
    ValueError, RuntimeError, OSError: a file is damaged.
  """

  def __init__(
    self,
    files: Sequence[RandomAccessFile],
    ranges: Sequence[range] | None = None,
  ):
    self._files = list(files)
    self._start()
    if ranges is None:
      with concurrent.futures.ThreadPoolExecutor() as pool:
        counts = pool.map(self._count, range(len(self._files)))
        ranges = [range(count) for count in counts]
    self._ranges = list(ranges)
    self._ends = np.cumsum([len(records) for records in self._ranges])

  def _start(self) -> None:
    self._lock = threading.Lock()
    self._readers: dict[int, Any] = {}

  def __getstate__(self) -> dict[str, Any]:
    return {
      k: v for k, v in self.__dict__.items() if k not in ("_lock", "_readers")
    }

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._start()

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __getitem__(self, index: int) -> bytes:
    if not 0 <= index < len(self):
      raise IndexError(f"record {index} of {len(self)}")
    number = int(np.searchsorted(self._ends, index, side="right"))
    row = self._ranges[number][index - int(self._ends[number])]
    return self._reader(number).read([row])[0]

  def _count(self, number: int) -> int:
    return self._reader(number).num_records()

  def _reader(self, number: int) -> Any:
    if number not in self._readers:
      path = str(self._files[number].local_copy())
      reader = ArrayRecordReader(
        path, options=_OPTIONS, file_reader_buffer_size=_BUFFER
      )
      if not reader.ok():
        reader.close()  # It raises the reason.
      with self._lock:
        self._readers.setdefault(number, reader)
    return self._readers[number]
