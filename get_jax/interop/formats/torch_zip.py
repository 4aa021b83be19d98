"""Reads files of `torch.save` since 1.6: a zip of one pickle and storages.

The archive holds `<root>/data.pkl` and one uncompressed member per storage,
`<root>/data/<key>`. Nothing is extracted: arrays are views of the file.
"""

import io
import re
import struct
import zipfile
from typing import IO, Any, cast

from get_jax.interop.formats.safe_pickle import (
  RejectedFileError,
  Stream,
  quote,
  read_pickle,
)
from get_jax.interop.formats.torch_tensors import (
  TORCH_GLOBALS,
  Storage,
  storage_dtype,
)

SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_FLAX_CHECKPOINT = re.compile(r"(.*/)?checkpoint_\d+")
_MAX_PICKLE = 256 * 2**20


def read_torch_zip(data: memoryview, stream: Stream) -> Any:
  """Reads a zip file of `torch.save`.

  Args:
    data: the whole file.
    stream: the same file, for `zipfile`.

  Returns:
    The saved object, with tensors as read-only arrays that are views of `data`.

  Raises:
    RejectedFileError: the file was not written by PyTorch, or is unsafe.
    zipfile.BadZipFile: the archive is damaged.
  """
  members = _members(data, stream)
  roots = [name for name in members if name.endswith("/data.pkl")]
  if len(roots) != 1:
    raise RejectedFileError(
      "its archive has no data.pkl, so torch.save did not write it"
    )
  root = roots[0].removesuffix("data.pkl")
  if bytes(members.get(f"{root}byteorder", b"little")) != b"little":
    raise RejectedFileError("its numbers are big-endian")

  def persistent_load(identifier: Any) -> Storage:
    match identifier:
      case ("storage", name, str(key), str(), int(count)):
        dtype = storage_dtype(name)
      case _:
        raise RejectedFileError(
          "its pickle refers to an object that is not a storage"
        )
    member = members.get(f"{root}data/{key}")
    if member is None:
      raise RejectedFileError(f"its storage {quote(key)} is not in the archive")
    if member.nbytes != count * dtype.itemsize:
      raise RejectedFileError(
        f"its storage {quote(key)} has {member.nbytes} bytes, but {count} "
        f"elements of {dtype} are declared"
      )
    return Storage(dtype, member)

  pickle = members[roots[0]]
  if pickle.nbytes > _MAX_PICKLE:
    raise RejectedFileError(
      f"its data.pkl has {pickle.nbytes} bytes; expected at most {_MAX_PICKLE}"
    )
  return read_pickle(io.BytesIO(pickle), TORCH_GLOBALS, persistent_load)


def _members(data: memoryview, stream: Stream) -> dict[str, memoryview]:
  """Returns the members of the archive by name, each as a view of `data`."""
  # `ZipFile` also accepts mmap objects, which its annotation omits.
  with zipfile.ZipFile(cast(IO[bytes], stream)) as archive:
    entries, comment = archive.infolist(), len(archive.comment)
  end = data[len(data) - 22 - comment :]
  if bytes(end[:4]) != b"PK\x05\x06":
    raise RejectedFileError("there are bytes after the end of its archive")
  members = {}
  for entry in entries:
    name = entry.filename
    if _FLAX_CHECKPOINT.fullmatch(name):
      raise RejectedFileError(
        f"it is an archive of the Flax checkpoint {quote(name)}; unzip it, and "
        "give that file"
      )
    if name in members or name.startswith("/") or ".." in name.split("/"):
      raise RejectedFileError(
        f"its archive has a duplicate or unsafe member {quote(name)}"
      )
    stored = entry.compress_type == zipfile.ZIP_STORED
    if not stored or entry.flag_bits & 1:
      raise RejectedFileError(
        f"the member {quote(name)} of its archive is compressed or encrypted, "
        "which torch.save never does"
      )
    signature, *lengths = _LOCAL_HEADER.unpack_from(data, entry.header_offset)
    start = entry.header_offset + _LOCAL_HEADER.size + sum(lengths)
    members[name] = data[start : start + entry.file_size]
    if signature != SIGNATURE or len(members[name]) != entry.file_size:
      raise RejectedFileError(
        f"the member {quote(name)} of its archive is truncated"
      )
  return members
