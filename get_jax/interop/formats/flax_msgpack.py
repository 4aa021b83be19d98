"""Reads files of `flax.serialization`: MessagePack with an array extension.

Flax's own reader copies every array, needs memory for all of them, and trusts
the sizes in the file. This reader returns views of the file, and rejects sizes
that the file cannot have, unknown extensions and number types, deep nesting and
very many items.

Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import dataclasses
import math
import struct
from typing import Any

import ml_dtypes
import numpy as np

from get_jax.interop.formats.safe_pickle import RejectedFileError, quote

MAX_DEPTH = 64
MAX_ITEMS = 1_000_000
MAX_AXES = 32
# Extension codes of Flax.
_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
# Flax splits arrays of more than 2**30 bytes into chunks.
_CHUNKED = "__msgpack_chunked_array__"
_DTYPES = {
  "bfloat16": np.dtype(ml_dtypes.bfloat16),
  **{
    name: np.dtype(name)
    for name in (
      "float64", "float32", "float16", "int64", "int32", "int16", "int8",
      "uint64", "uint32", "uint16", "uint8", "bool",
    )
  },
}  # fmt: skip
_NUMBERS = {
  0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
  0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
# Number of bytes of the size that follows a type.
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def begins_like_msgpack(first: bytes) -> bool:
  """Returns whether a file that begins with this byte may be a map."""
  return bool(first) and (0x81 <= first[0] <= 0x8F or first[0] in _MAPS)


def read_flax_msgpack(data: memoryview) -> Any:
  """Reads a file of `flax.serialization.msgpack_serialize` or `to_bytes`.

  Args:
    data: the whole file.

  Returns:
    The saved object. Arrays are read-only views of `data`.

  Raises:
    RejectedFileError: the file is damaged or in another format.
  """
  reader = _Reader(data, MAX_ITEMS)
  value = reader.item()
  if reader.position != len(data):
    raise RejectedFileError(
      f"its MessagePack object ends at byte {reader.position} of {len(data)}"
    )
  return value


@dataclasses.dataclass
class _Reader:
  """Reads objects one after the other.

  Attributes:
    data: the bytes.
    items: number of objects that may still be read.
    position: offset of the next byte.
  """

  data: memoryview
  items: int
  position: int = 0

  def item(self, depth: int = 0) -> Any:
    """Returns the next object."""
    self.items -= 1
    if self.items < 0:
      raise RejectedFileError(f"it has more than {MAX_ITEMS} items")
    if depth > MAX_DEPTH:
      raise RejectedFileError(f"its objects are nested {MAX_DEPTH} deep")
    code = self.take(1)[0]
    if code <= 0x7F:
      return code
    if code >= 0xE0:
      return code - 0x100
    if code <= 0x8F:
      return self.map(code & 0x0F, depth)
    if code <= 0x9F:
      return self.list(code & 0x0F, depth)
    if code <= 0xBF:
      return self.text(code & 0x1F)
    if code in _CONSTANTS:
      return _CONSTANTS[code]
    if code in _NUMBERS:
      size = struct.calcsize(_NUMBERS[code])
      return struct.unpack(_NUMBERS[code], self.take(size))[0]
    if code in _FIXED_EXTENSIONS:
      return self.extension(_FIXED_EXTENSIONS[code], depth)
    if code in _EXTENSIONS:
      return self.extension(self.size(_EXTENSIONS[code]), depth)
    if code in _BYTES:
      return self.take(self.size(_BYTES[code]))
    if code in _STRINGS:
      return self.text(self.size(_STRINGS[code]))
    if code in _ARRAYS:
      return self.list(self.size(_ARRAYS[code]), depth)
    if code in _MAPS:
      return self.map(self.size(_MAPS[code]), depth)
    raise RejectedFileError(f"it has an object of the unknown type {code}")

  def take(self, count: int) -> memoryview:
    """Returns the next bytes, as a view."""
    if count > len(self.data) - self.position:
      raise RejectedFileError(
        f"it declares {count} bytes at byte {self.position}, beyond its end"
      )
    start, self.position = self.position, self.position + count
    return self.data[start : self.position]

  def size(self, num_bytes: int) -> int:
    """Returns the next bytes as an unsigned number."""
    return int.from_bytes(self.take(num_bytes), "big")

  def text(self, count: int) -> str:
    """Returns the next bytes as text."""
    return bytes(self.take(count)).decode()

  def list(self, count: int, depth: int) -> list[Any]:
    """Returns the next objects."""
    return [self.item(depth + 1) for _ in range(count)]

  def map(self, count: int, depth: int) -> Any:
    """Returns the next pairs of objects; chunks of an array are joined."""
    result = {}
    for _ in range(count):
      key = self.item(depth + 1)
      if not isinstance(key, str | int):
        raise RejectedFileError(
          "it has a key that is neither a string nor a number"
        )
      result[key] = self.item(depth + 1)
    return _joined(result) if _CHUNKED in result else result

  def extension(self, count: int, depth: int) -> Any:
    """Returns the next extension: an array, or a number."""
    code = int.from_bytes(self.take(1), "big", signed=True)
    payload = self.take(count)
    if code not in (_ARRAY, _COMPLEX, _SCALAR):
      raise RejectedFileError(f"it has an extension of the unknown code {code}")
    value = _Reader(payload, self.items).item(depth + 1)
    if code == _COMPLEX:
      return complex(*value)
    array = _array(value)
    return array[()] if code == _SCALAR and array.ndim == 0 else array


def _array(value: Any) -> np.ndarray:
  """Returns the array of (shape, name of the number type, bytes)."""
  match value:
    case [[*sizes], str(name), memoryview() as data]:
      pass
    case _:
      raise RejectedFileError("it has an array without shape, type and data")
  if name not in _DTYPES:
    raise RejectedFileError(
      f"it has an array of the unknown number type {quote(name)}"
    )
  shape, dtype = _checked_shape(sizes), _DTYPES[name]
  if math.prod(shape) * dtype.itemsize != data.nbytes:
    raise RejectedFileError(
      f"it declares an array of shape {shape} and type {name} with "
      f"{data.nbytes} bytes"
    )
  array = np.frombuffer(data, dtype) if data.nbytes else np.zeros(0, dtype)
  return array.reshape(shape)


def _joined(chunked: dict[Any, Any]) -> np.ndarray:
  """Returns the array of a map of chunks."""

  def ordered(value):
    if not isinstance(value, dict):
      raise RejectedFileError("it has a chunked array without shape and chunks")
    return [value[str(i)] for i in range(len(value))]

  shape = _checked_shape(ordered(chunked.get("shape")))
  chunks = ordered(chunked.get("chunks"))
  dtypes = {getattr(chunk, "dtype", None) for chunk in chunks}
  if len(dtypes) != 1 or None in dtypes:
    raise RejectedFileError("it has chunks that are not arrays of one type")
  return np.concatenate([chunk.ravel() for chunk in chunks]).reshape(shape)


def _checked_shape(shape: list[Any]) -> tuple[int, ...]:
  valid = len(shape) <= MAX_AXES
  if not valid or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
    raise RejectedFileError(
      "it declares an array whose shape is not a list of sizes"
    )
  return tuple(shape)
