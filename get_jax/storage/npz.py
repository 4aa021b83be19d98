"""Writes .npz files in parts, and reads files that may be damaged."""

import contextlib
import dataclasses
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from get_jax.errors import reason
from get_jax.storage.expansion import check_expansion

# What zipfile and NumPy raise for damaged files.
_DAMAGED_FILE_ERRORS = (
  ValueError,
  TypeError,
  LookupError,
  OSError,
  EOFError,
  SyntaxError,
  RuntimeError,  # also RecursionError, and NotImplementedError
  MemoryError,
  OverflowError,
  struct.error,
  tokenize.TokenError,
  zipfile.BadZipFile,
  zlib.error,
  lzma.LZMAError,
)


@dataclasses.dataclass(frozen=True)
class StreamedArray:
  """An array whose rows are produced one part at a time.

  Attributes:
    shape: shape of the whole array.
    dtype: dtype of the array.
    parts: consecutive rows (n, ...), which together are the array.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  parts: Iterable[np.ndarray]


def write_npz(
  file: IO[bytes], arrays: Mapping[str, np.ndarray | StreamedArray]
) -> None:
  """Writes arrays as `np.savez` does, byte for byte if the file can seek.

  Args:
    file: where to write; it need not be able to seek.
    arrays: the arrays by name, written one after the other.

  Raises:
    ValueError: the parts of an array do not have its dtype and shape.
  """
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    for name, array in arrays.items():
      if isinstance(array, np.ndarray):
        array = StreamedArray(array.shape, array.dtype, [array])
      with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        _write_array(member, name, array)


def _write_array(member: IO[bytes], name: str, array: StreamedArray) -> None:
  header: dict[str, Any] = {
    "descr": npy.dtype_to_descr(array.dtype),
    "fortran_order": False,
    "shape": array.shape,
  }
  npy.write_array_header_1_0(member, header)
  rows = 0
  for part in array.parts:
    rows += len(part)
    if part.dtype != array.dtype or part.shape[1:] != array.shape[1:]:
      raise ValueError(
        f"a part of {name} is {part.dtype}{part.shape}, expected "
        f"{array.dtype}{('n', *array.shape[1:])}"
      )
    member.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
  if rows != array.shape[0]:
    raise ValueError(f"{name} has {rows} rows, expected {array.shape[0]}")


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
  """The header of an array in a file.

  Attributes:
    shape: shape of the array.
    fortran_order: whether its first axis varies fastest.
    dtype: its dtype; no Python objects.
  """

  shape: tuple[int, ...]
  fortran_order: bool
  dtype: np.dtype


@contextlib.contextmanager
def open_npz(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
  """Context in which an .npz file is open, and its damage a `ValueError`."""
  try:
    with zipfile.ZipFile(file) as archive:
      yield archive
  except _DAMAGED_FILE_ERRORS as error:
    raise ValueError(reason(error)) from error


def npz_headers(file: IO[bytes]) -> dict[str, ArrayHeader]:
  """Returns the header of every array of an .npz file, by name.

  Args:
    file: the file, which can seek.

  Raises:
    ValueError: see `read_npz`.
  """
  with open_npz(file) as archive:
    return {
      _name(member): _read_header(archive, member)
      for member in archive.infolist()
    }


def read_npz(
  file: IO[bytes], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
  """Reads arrays of an .npz file, by name.

  The memory needed is bounded by the size of the file, see `check_expansion`:
  sizes are checked before arrays are allocated.

  Args:
    file: the file, which can seek.
    names: the arrays to read; None: all.

  Raises:
    ValueError: the file is damaged, has other contents than arrays of numbers
      or strings, or would need too much memory.
  """
  wanted = None if names is None else frozenset(names)
  arrays = {}
  with open_npz(file) as archive:
    for member in archive.infolist():
      if wanted is None or _name(member) in wanted:
        _read_header(archive, member)
        with archive.open(member) as stream:
          array = npy.read_array(stream, allow_pickle=False)
        arrays[_name(member)] = array
  return arrays


def read_array_header(stream: IO[bytes]) -> ArrayHeader:
  """Reads the header of an array; the stream is then at its first byte."""
  version = npy.read_magic(stream)
  if version == (1, 0):
    return ArrayHeader(*npy.read_array_header_1_0(stream))
  return ArrayHeader(*npy.read_array_header_2_0(stream))


def _name(member: zipfile.ZipInfo) -> str:
  return member.filename.removesuffix(".npy")


def _read_header(
  archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> ArrayHeader:
  """Reads a header, and checks that its array has the size of the member."""
  check_expansion(member.compress_size, member.file_size)
  with archive.open(member) as stream:
    header = read_array_header(stream)
    size = member.file_size - stream.tell()
  if header.dtype.hasobject or any(length < 0 for length in header.shape):
    raise ValueError(f"{member.filename} holds no plain array")
  if math.prod(header.shape) * header.dtype.itemsize != size:
    raise ValueError(
      f"{member.filename} has {size} bytes; expected "
      f"{header.dtype}{header.shape}"
    )
  return header
