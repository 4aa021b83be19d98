"""Reads files of `torch.save` before 1.6: five pickles, then raw storages."""

import struct
from collections.abc import Mapping
from typing import Any

from get_jax.interop.formats.safe_pickle import (
  MAX_OPCODES,
  AllowedGlobals,
  GlobalName,
  RejectedFileError,
  Stream,
  quote,
  read_pickle,
)
from get_jax.interop.formats.torch_tensors import Storage, storage_dtype

# Every file begins with this pickle of PyTorch's magic number.
SIGNATURE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_torch_legacy(
  data: memoryview,
  stream: Stream,
  allowed_globals: AllowedGlobals,
  max_opcodes: int = MAX_OPCODES,
) -> Any:
  """Reads a legacy stream.

  It consists of magic number, protocol, system information, object, storage
  keys and storages.

  Args:
    data: the whole stream.
    stream: the same, readable and seekable, at its beginning.
    allowed_globals: replacements of the global names that the object's pickle
      may use.
    max_opcodes: the largest accepted number of opcodes in each pickle.

  Returns:
    The object, with tensors as read-only arrays that are views of `data`.

  Raises:
    RejectedFileError: the stream was not written by PyTorch, is unsafe or
      truncated, or is followed by other bytes.
  """
  for expected in (_MAGIC, _PROTOCOL):
    if read_pickle(stream, {}, max_opcodes=max_opcodes) != expected:
      raise RejectedFileError("it does not begin as legacy files of PyTorch do")
  system = read_pickle(stream, {}, max_opcodes=max_opcodes)
  if not isinstance(system, dict) or system.get("little_endian") is not True:
    raise RejectedFileError("its numbers are big-endian")

  declared: dict[str, tuple[GlobalName, int]] = {}

  def declare(identifier: Any) -> Storage:
    match identifier:
      case ("storage", name, str(key), str(), int(count), None):
        # Two types for one storage would allow reading its bytes as both.
        if declared.setdefault(key, (name, count)) != (name, count):
          raise RejectedFileError(
            f"its storage {quote(key)} has conflicting declarations"
          )
        return Storage(storage_dtype(name), None)
      case _:
        raise RejectedFileError(
          "its pickle refers to an object that is not a storage"
        )

  # The storages follow the pickle that refers to them. The pickle is read once
  # to collect their types and a second time to build the object.
  begin = stream.tell()
  read_pickle(stream, allowed_globals, declare, max_opcodes)
  keys = read_pickle(stream, {}, max_opcodes=max_opcodes)
  storages = _storages(data, stream.tell(), keys, declared)
  stream.seek(begin)
  return read_pickle(
    stream, allowed_globals, lambda pid: storages[pid[2]], max_opcodes
  )


def _storages(
  data: memoryview,
  position: int,
  keys: Any,
  declared: Mapping[str, tuple[GlobalName, int]],
) -> dict[str, Storage]:
  """Returns the storages, by key.

  Args:
    data: the whole stream.
    position: byte at which the storages begin.
    keys: their keys in the order of the stream, as read from it.
    declared: type and number of elements by key, from the object's pickle.
  """
  if not isinstance(keys, list) or sorted(keys) != sorted(declared):
    raise RejectedFileError(
      "its list of storages differs from those that its pickle refers to"
    )
  storages = {}
  for key in keys:
    name, count = declared[key]
    dtype = storage_dtype(name)
    begin = position + 8
    position = begin + count * dtype.itemsize
    if count < 0 or position > len(data):
      raise RejectedFileError(
        f"its storage {quote(key)} of {count} elements is truncated"
      )
    if struct.unpack_from("<q", data, begin - 8) != (count,):
      raise RejectedFileError(
        f"its storage {quote(key)} does not have {count} elements"
      )
    storages[key] = Storage(dtype, data[begin:position])
  if position != len(data):
    raise RejectedFileError("there are bytes after its last storage")
  return storages
