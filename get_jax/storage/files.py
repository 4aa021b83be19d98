"""Reads the files of a folder or a zip by name, from threads and processes."""

import copy
import os
import pathlib
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from get_jax.errors import UsageError

_LOCAL_HEADER = struct.Struct("<4s22xHH")

# Files and folders that operating systems, file managers and editors add, in
# lower case. Names that start with a dot are hidden too.
SYSTEM_NAMES = frozenset({
  "__macosx",
  "__pycache__",
  "thumbs.db",
  "ehthumbs.db",
  "desktop.ini",
  "icon\r",
  "$recycle.bin",
  "#recycle",
  "@eadir",
  "system volume information",
  "lost+found",
})  # fmt: skip


def is_hidden(name: str) -> bool:
  """Returns whether a file, or a folder that it is in, is no part of the data.

  Args:
    name: path of the file relative to the root of the data, with "/".
  """
  return any(
    part.startswith(".") or part.lower() in SYSTEM_NAMES
    for part in name.split("/")
  )


class _Entry(NamedTuple):
  """A file in a zip: where its local header is, and how it is compressed."""

  name: str
  offset: int
  compressed_size: int
  method: int
  crc: int


class Files:
  """Read-only files under one root, which is a folder or a zip.

  Hidden files and system folders (`is_hidden`) are left out. Links to folders
  are followed. Of a zip only offsets, sizes and checksums are kept in memory,
  not an open file, so readers need no lock and can be pickled.

  Args:
    root: the folder or the zip.
    folder: a folder inside it; names are relative to it. It may also be below
      the only folder at the top, as in a zip of a whole folder.

  Attributes:
    folder: the folder inside the root that names are relative to.
    names: names of all files, sorted.
    folders: names of all folders, sorted, with those that are empty.

  Raises:
    UsageError: the folder or zip does not exist, or the zip is damaged.
  """

  def __init__(self, root: str | os.PathLike[str], folder: str = ""):
    self.root = pathlib.Path(root).expanduser()
    self._entries: dict[str, _Entry] | None = None
    self.folder = ""
    if self.root.is_dir():
      self.folder = self._find(folder.strip("/"))
      self._sort(_walk(self.root / self.folder))
    elif self.root.is_file():
      self._entries, names = self._read_directory()
      self._sort(names)
      self._narrow(self._find(folder.strip("/")))
    else:
      raise UsageError(f"folder or zip {self.root} does not exist")

  @property
  def hidden(self) -> int:
    """Number of hidden files."""
    return len(self._hidden)

  def _sort(self, names: Iterable[str]) -> None:
    """Sorts names into files, folders (they end in "/") and hidden files."""
    files: list[str] = []
    hidden: list[str] = []
    folders: set[str] = set()
    for name in names:
      if not name.endswith("/"):
        (hidden if is_hidden(name) else files).append(name)
      parent = name.rpartition("/")[0]
      while parent and parent not in folders:
        if not is_hidden(parent):
          folders.add(parent)
        parent = parent.rpartition("/")[0]
    self.names, self.folders = sorted(files), sorted(folders)
    self._hidden = hidden

  def _find(self, folder: str) -> str:
    """Returns the path of a folder at the top or below single folders."""
    top = ""
    while folder:
      path = posixpath.join(top, folder)
      children = self._subfolders(top)
      if self._has_folder(path) or len(children) != 1:
        return path if self._has_folder(path) else folder
      top = posixpath.join(top, children[0])
    return folder

  def _has_folder(self, path: str) -> bool:
    if self._entries is None:
      return (self.root / path).is_dir()
    return path in self.folders

  def _subfolders(self, path: str) -> list[str]:
    """Returns the names of the visible folders directly in a folder."""
    if self._entries is None:
      with os.scandir(self.root / path) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
      return [name for name in names if not is_hidden(name)]
    return [
      folder.rpartition("/")[2]
      for folder in self.folders
      if folder.rpartition("/")[0] == path
    ]

  def _read_directory(self) -> tuple[dict[str, _Entry], list[str]]:
    entries, folders = {}, []
    try:
      with zipfile.ZipFile(self.root) as archive:
        for info in archive.infolist():
          # Some programs write "./a/b", "/a/b" or "a\b".
          name = posixpath.normpath(info.filename.replace("\\", "/"))
          name = name.lstrip("/")
          if info.is_dir():
            folders.append(f"{name}/")
          else:
            entries[name] = _Entry(
              info.filename,
              info.header_offset,
              info.compress_size,
              info.compress_type,
              info.CRC,
            )
    except (zipfile.BadZipFile, OSError) as error:
      raise UsageError(
        f"{self.root} is neither a folder nor a readable zip ({error})"
      ) from error
    return entries, [*entries, *folders]

  def narrow(self, folder: str) -> "Files":
    """Returns the files of a folder inside, with names relative to it."""
    inside = copy.copy(self)
    inside._narrow(folder)
    return inside

  def _narrow(self, folder: str) -> None:
    if not folder:
      return
    self.folder = posixpath.join(self.folder, folder)
    prefix = f"{folder}/"

    def within(names: list[str]) -> list[str]:
      return [n.removeprefix(prefix) for n in names if n.startswith(prefix)]

    self.names, self.folders = within(self.names), within(self.folders)
    self._hidden = within(self._hidden)

  def path(self, name: str = "") -> str:
    """Returns the full path of a file, for messages."""
    return str(self.root / self.folder / name)

  def read(self, name: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
      UsageError: the file is missing or damaged.
    """
    try:
      if self._entries is None:
        with open(f"{self.root}/{self.folder}/{name}", "rb", buffering=0) as f:
          return f.readall()
      return self._extract(self._entries[posixpath.join(self.folder, name)])
    except (KeyError, FileNotFoundError):
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

  def _extract(self, entry: _Entry) -> bytes:
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      # Rare: zipfile decompresses, and reads the directory again every time.
      with zipfile.ZipFile(self.root) as archive:
        return archive.read(entry.name)
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


def _walk(base: pathlib.Path) -> Iterator[str]:
  """Yields the paths of files and folders (with "/") in a folder."""
  # Of each folder to be read, its real path and those of the folders above.
  chains: dict[str, tuple[str, ...]] = {str(base): (os.path.realpath(base),)}
  for path, folders, files in os.walk(base, followlinks=True):
    chain = chains.pop(path)
    prefix = pathlib.Path(path).relative_to(base).as_posix()
    prefix = "" if prefix == "." else f"{prefix}/"
    for name in list(folders):
      inner = os.path.join(path, name)
      is_link = os.path.islink(inner)
      real = os.path.realpath(inner) if is_link else f"{chain[0]}/{name}"
      if real in chain:  # a link to a folder that contains it
        folders.remove(name)
        continue
      chains[inner] = (real, *chain)
      yield f"{prefix}{name}/"
    for name in files:
      yield prefix + name
