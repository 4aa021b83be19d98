"""Opens `.npy` files whose rows are read when they are needed."""

import io
import tokenize
from typing import Any, Protocol, cast

import numpy as np
from numpy.lib import format as npy

from get_jax.errors import reason
from get_jax.storage.random_access import (
  LocalFile,
  RandomAccessFile,
)

# What NumPy raises for a damaged header, besides `ValueError`.
_DAMAGED_FILE_ERRORS = (
  TypeError,
  LookupError,
  OverflowError,
  SyntaxError,
  RecursionError,
  MemoryError,
  tokenize.TokenError,
)
_HEADER_SIZE = 2**12  # bytes, more than the header of any array of ours


class Rows(Protocol):
  """An array of which rows are read by index."""

  @property
  def shape(self) -> tuple[int, ...]: ...  # noqa: D102

  @property
  def dtype(self) -> np.dtype: ...  # noqa: D102

  def __getitem__(self, rows: Any) -> np.ndarray:
    """Returns the rows at integer indices (n,)."""

  def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
    """Returns the whole array."""


class CachedArray:
  """The array in an object of a bucket; see `Rows`.

  Args:
    file: an `.npy` file in C order.

  Raises:
    ValueError: it is no such file, or has another size than its header says.
  """

  def __init__(self, file: RandomAccessFile):
    header = io.BytesIO(file.read(0, _HEADER_SIZE))
    if npy.read_magic(header) != (1, 0):
      raise ValueError("expected version 1.0 of the format")
    self.shape, fortran, self.dtype = npy.read_array_header_1_0(header)
    if fortran or self.dtype.hasobject:
      raise ValueError("expected numbers in C order")
    self._file, self._start = file, header.tell()
    self._row_shape = self.shape[1:]
    self._row_size = self.dtype.itemsize * int(np.prod(self._row_shape))
    if self._start + self.shape[0] * self._row_size > file.size:
      raise ValueError(f"it ends after {file.size} bytes, within the array")

  def prefetch(self, rows: np.ndarray) -> None:
    """Announces that rows (n,) will be read."""
    for row in rows.tolist():
      self._file.prefetch(*self._span(row))

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    result = np.empty((len(rows), *self._row_shape), self.dtype)
    for i, row in enumerate(rows.tolist()):
      content = self._file.read(*self._span(row))
      result[i] = np.frombuffer(content, self.dtype).reshape(self._row_shape)
    return result

  def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
    with self._file.open() as file:
      file.seek(self._start)
      content = file.read(self.shape[0] * self._row_size)
    array = np.frombuffer(content, self.dtype).reshape(self.shape)
    return array if dtype is None else array.astype(dtype)

  def _span(self, row: int) -> tuple[int, int]:
    start = self._start + row * self._row_size
    return start, start + self._row_size


def open_array(file: RandomAccessFile) -> Rows:
  """Opens an `.npy` file, memory-mapped on disk and cached from a bucket.

  Raises:
    ValueError, EOFError, OSError: the file is damaged.
  """
  if isinstance(file, LocalFile):
    try:
      return cast(Rows, npy.open_memmap(file.path, "r"))
    except _DAMAGED_FILE_ERRORS as error:
      raise ValueError(reason(error)) from error
  return CachedArray(file)


def prefetch_rows(array: Rows, rows: np.ndarray) -> None:
  """Announces that rows (n,) will be read: those of a bucket are downloaded."""
  if isinstance(array, CachedArray):
    array.prefetch(rows)


def file_size(dtype: np.dtype, shape: tuple[int, ...]) -> int:
  """Returns the size of the `.npy` file of an array, in bytes."""
  header = io.BytesIO()
  description = npy.header_data_from_array_1_0(np.empty(0, dtype))
  npy.write_array_header_1_0(header, description | {"shape": shape})
  return header.tell() + dtype.itemsize * int(np.prod(shape))
