"""Reads the files of a folder or a zip by name, from threads and processes."""

import os
import pathlib
import struct
import zipfile
import zlib
from typing import NamedTuple

from get_jax.errors import UsageError

_LOCAL_HEADER = struct.Struct("<4s22xHH")


class _Entry(NamedTuple):
  """A file in a zip: where its local header is, and how it is compressed."""

  offset: int
  compressed_size: int
  method: int
  crc: int


class Files:
  """Read-only files under one root, which is a folder or a zip.

  Of a zip only offsets, sizes and checksums are kept in memory, not an open
  file, so readers need no lock and can be pickled.

  Args:
    root: the folder or the zip.
    folder: a folder inside it; names are relative to it.

  Attributes:
    names: names of all files, sorted.

  Raises:
    UsageError: the folder or zip does not exist, or the zip is damaged.
  """

  def __init__(self, root: str | os.PathLike[str], folder: str = ""):
    self.root = pathlib.Path(root)
    self.folder = folder.strip("/")
    self._entries: dict[str, _Entry] | None = None
    if self.root.is_dir():
      base = self.root / self.folder
      files = (path for path in base.rglob("*") if path.is_file())
      self.names = sorted(path.relative_to(base).as_posix() for path in files)
    elif self.root.is_file():
      self._entries = self._read_directory()
      self.names = sorted(self._entries)
    else:
      raise UsageError(f"folder or zip {self.root} does not exist")

  def _read_directory(self) -> dict[str, _Entry]:
    try:
      with zipfile.ZipFile(self.root) as archive:
        return {
          entry.filename.removeprefix(self._prefix): _Entry(
            entry.header_offset,
            entry.compress_size,
            entry.compress_type,
            entry.CRC,
          )
          for entry in archive.infolist()
          if not entry.is_dir() and entry.filename.startswith(self._prefix)
        }
    except (zipfile.BadZipFile, OSError) as error:
      raise UsageError(
        f"{self.root} is neither a folder nor a readable zip ({error})"
      ) from error

  @property
  def _prefix(self) -> str:
    return f"{self.folder}/" if self.folder else ""

  def path(self, name: str) -> str:
    """Returns the full path of a file, for messages."""
    return str(self.root / self.folder / name)

  def read(self, name: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
      UsageError: the file is missing or damaged.
    """
    try:
      if self._entries is None:
        return (self.root / self.folder / name).read_bytes()
      return self._extract(name, self._entries[name])
    except KeyError:
      raise UsageError(f"{self.path(name)} does not exist") from None
    except (
      OSError,
      RuntimeError,  # of zipfile: encrypted, or another compression
      ValueError,
      struct.error,
      zipfile.BadZipFile,
      zlib.error,
    ) as error:
      raise UsageError(f"{self.path(name)} cannot be read: {error}") from error

  def _extract(self, name: str, entry: _Entry) -> bytes:
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      # Rare: zipfile decompresses, and reads the directory again every time.
      with zipfile.ZipFile(self.root) as archive:
        return archive.read(self._prefix + name)
    with self.root.open("rb", buffering=0) as file:
      file.seek(entry.offset)
      header = file.read(_LOCAL_HEADER.size)
      _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
      file.seek(name_length + extra_length, os.SEEK_CUR)
      content = file.read(entry.compressed_size)
    if entry.method == zipfile.ZIP_DEFLATED:
      content = zlib.decompress(content, -zlib.MAX_WBITS)
    if zlib.crc32(content) != entry.crc:
      raise ValueError("its checksum does not match")
    return content
