"""Files of a folder or a zip, by name, for many threads and processes."""

import os
import pathlib
import struct
import zipfile
import zlib

from get_jax.errors import UsageError

_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Files:
  """Read-only files under one root, which is a folder or a zip.

  Nothing but numbers is kept of an archive, so readers need no lock and can be
  pickled.

  Args:
    root: the folder or the zip.
    under: a folder inside it; names are relative to it.

  Raises:
    UsageError: there is no such folder or zip, or it is damaged.
  """

  def __init__(self, root: str | os.PathLike[str], under: str = ""):
    self.root = pathlib.Path(root)
    self.under = under.strip("/")
    self._entries: dict[str, tuple[int, int, int, int]] | None = None
    if self.root.is_dir():
      base = self.root / self.under
      found = (p for p in base.rglob("*") if p.is_file())
      self.names = sorted(p.relative_to(base).as_posix() for p in found)
    elif self.root.is_file():
      self._entries = self._directory()
      self.names = sorted(self._entries)
    else:
      raise UsageError(f"there is no folder or zip {self.root}")

  def _directory(self):
    prefix = f"{self.under}/" if self.under else ""
    try:
      with zipfile.ZipFile(self.root) as archive:
        return {
          entry.filename.removeprefix(prefix): (
            entry.header_offset,
            entry.compress_size,
            entry.compress_type,
            entry.CRC,
          )
          for entry in archive.infolist()
          if not entry.is_dir() and entry.filename.startswith(prefix)
        }
    except (zipfile.BadZipFile, OSError) as error:
      raise UsageError(
        f"{self.root} is neither a folder nor a readable zip ({error})"
      ) from error

  def path(self, name: str) -> str:
    """Where a file is, for messages."""
    return str(self.root / self.under / name)

  def read(self, name: str) -> bytes:
    """The bytes of a file.

    Raises:
      UsageError: it is missing or damaged.
    """
    try:
      if self._entries is None:
        return (self.root / self.under / name).read_bytes()
      return self._extract(*self._entries[name])
    except KeyError:
      raise UsageError(f"there is no {self.path(name)}") from None
    except (OSError, zlib.error, struct.error, ValueError) as error:
      raise UsageError(f"{self.path(name)} cannot be read: {error}") from error

  def _extract(self, offset: int, size: int, method: int, crc: int) -> bytes:
    with self.root.open("rb", buffering=0) as file:
      file.seek(offset)
      header = file.read(_LOCAL_HEADER.size)
      _, name, extra = _LOCAL_HEADER.unpack(header)
      file.seek(name + extra, os.SEEK_CUR)
      content = file.read(size)
    if method == zipfile.ZIP_DEFLATED:
      content = zlib.decompress(content, -zlib.MAX_WBITS)
    elif method != zipfile.ZIP_STORED:
      raise ValueError(f"compression {method}; expected stored or deflated")
    if zlib.crc32(content) != crc:
      raise ValueError("its checksum is another")
    return content
