"""Writes .npz files in parts, so that no array has to fit into memory."""

import dataclasses
import zipfile
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy


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
