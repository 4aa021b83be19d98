"""Files of `torch.save` since 1.6: a zip archive of one pickle and storages.

The archive holds `<root>/data.pkl` and one uncompressed member per storage,
`<root>/data/<key>`. Nothing is unpacked: arrays are views of the file.
"""

import io
import mmap
import struct
import zipfile
from typing import Any

from get_jax.interop.formats.safe_pickle import Refusal, read_pickle, shown
from get_jax.interop.formats.torch_tensors import TORCH, Storage, storage_type

SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MAX_PICKLE = 256 * 2**20


def read_torch_zip(data: memoryview, stream: io.IOBase | mmap.mmap) -> Any:
  """Reads a zip file of `torch.save`.

  Args:
    data: the whole file.
    stream: the same file, for `zipfile`.

  Returns:
    What was saved, tensors as read-only arrays on `data`.

  Raises:
    Refusal: the file is none of torch's, or hostile.
    zipfile.BadZipFile: the archive is damaged.
  """
  members = _members(data, stream)
  roots = [name for name in members if name.endswith("/data.pkl")]
  if len(roots) != 1:
    raise Refusal("its archive has no data.pkl, so torch.save did not write it")
  root = roots[0].removesuffix("data.pkl")
  if bytes(members.get(f"{root}byteorder", b"little")) != b"little":
    raise Refusal("its numbers are big-endian")

  def storage(identifier) -> Storage:
    match identifier:
      case ("storage", name, str(key), str(), int(count)):
        dtype = storage_type(name)
      case _:
        raise Refusal("its pickle refers to something that is no storage")
    member = members.get(f"{root}data/{key}")
    if member is None:
      raise Refusal(f"its storage {shown(key)} is not in the archive")
    if member.nbytes != count * dtype.itemsize:
      raise Refusal(
        f"its storage {shown(key)} has {member.nbytes} bytes where {count} "
        f"elements of {dtype} are declared"
      )
    return Storage(dtype, member)

  pickle = members[roots[0]]
  if pickle.nbytes > _MAX_PICKLE:
    raise Refusal(f"its data.pkl has {pickle.nbytes} bytes")
  return read_pickle(io.BytesIO(pickle), TORCH, storage)


def _members(data: memoryview, stream) -> dict[str, memoryview]:
  """The members by name, each as a view of the file."""
  with zipfile.ZipFile(stream) as archive:
    entries, comment = archive.infolist(), len(archive.comment)
  end = data[len(data) - 22 - comment :]
  if bytes(end[:4]) != b"PK\x05\x06":
    raise Refusal("there are bytes after the end of its archive")
  members = {}
  for entry in entries:
    name = entry.filename
    if name in members or name.startswith("/") or ".." in name.split("/"):
      raise Refusal(f"its archive has a member called {shown(name)}")
    stored = entry.compress_type == zipfile.ZIP_STORED
    if not stored or entry.flag_bits & 1:
      raise Refusal(
        f"the member {shown(name)} of its archive is compressed or encrypted, "
        "which torch.save never does"
      )
    signature, *lengths = _LOCAL_HEADER.unpack_from(data, entry.header_offset)
    start = entry.header_offset + _LOCAL_HEADER.size + sum(lengths)
    members[name] = data[start : start + entry.file_size]
    if signature != SIGNATURE or len(members[name]) != entry.file_size:
      raise Refusal(f"the member {shown(name)} of its archive is cut off")
  return members
