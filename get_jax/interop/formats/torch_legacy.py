"""Files of `torch.save` before 1.6: five pickles, then the raw storages."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from get_jax.interop.formats.safe_pickle import (
  MAX_INSTRUCTIONS,
  Refusal,
  Stream,
  read_pickle,
  shown,
)
from get_jax.interop.formats.torch_tensors import Storage, storage_type

# The pickle of torch's magic number, with which every such file begins.
SIGNATURE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_torch_legacy(
  data: memoryview,
  stream: Stream,
  meanings: Mapping[str, Callable[..., Any] | None],
  limit: int = MAX_INSTRUCTIONS,
) -> Any:
  """Reads a legacy stream: magic, protocol, system, object, keys, storages.

  Args:
    data: the whole stream.
    stream: the same, readable and seekable, at its beginning.
    meanings: the names that the object's pickle may mention.
    limit: the largest number of instructions in one of the pickles.

  Returns:
    The object, tensors as read-only arrays on `data`.

  Raises:
    Refusal: the stream is not torch's, hostile, cut off or followed by bytes.
  """
  for expected in (_MAGIC, _PROTOCOL):
    if read_pickle(stream, {}, limit=limit) != expected:
      raise Refusal("it does not begin as torch's legacy files do")
  system = read_pickle(stream, {}, limit=limit)
  if not isinstance(system, dict) or system.get("little_endian") is not True:
    raise Refusal("its numbers are big-endian")

  declared = {}

  def declare(identifier) -> Storage:
    match identifier:
      case ("storage", name, str(key), str(), int(count), None):
        # Two names for one storage would let its bytes be read as both.
        if declared.setdefault(key, (name, count)) != (name, count):
          raise Refusal(f"its storage {shown(key)} is declared in two ways")
        return Storage(storage_type(name), None)
      case _:
        raise Refusal("its pickle refers to something that is no storage")

  # The storages lie behind the pickle that refers to them: it is read once to
  # learn their types and once more with the storages in place.
  begin = stream.tell()
  read_pickle(stream, meanings, declare, limit)
  keys = read_pickle(stream, {}, limit=limit)
  storages = _storages(data, stream.tell(), keys, declared)
  stream.seek(begin)
  return read_pickle(stream, meanings, lambda pid: storages[pid[2]], limit)


def _storages(data, position, keys, declared) -> dict[str, Storage]:
  if not isinstance(keys, list) or sorted(keys) != sorted(declared):
    raise Refusal("its list of storages is not the one its pickle refers to")
  storages = {}
  for key in keys:
    name, count = declared[key]
    dtype = storage_type(name)
    begin = position + 8
    position = begin + count * dtype.itemsize
    if count < 0 or position > len(data):
      raise Refusal(f"its storage {shown(key)} of {count} elements is cut off")
    if struct.unpack_from("<q", data, begin - 8) != (count,):
      raise Refusal(f"its storage {shown(key)} does not have {count} elements")
    storages[key] = Storage(dtype, data[begin:position])
  if position != len(data):
    raise Refusal("there are bytes after its last storage")
  return storages
