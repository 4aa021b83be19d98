"""Reads the files of a folder or a zip by name, from threads and processes."""

import copy
import lzma
import os
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable

from get_jax.errors import UsageError, reason
from get_jax.storage.containers import open_container
from get_jax.storage.random_access import RandomAccessFile

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


class Files:
  """Read-only files under one root: a folder or a zip, on disk or in a bucket.

  Hidden files and system folders (`is_hidden`) are left out. Links to folders
  are followed. No file is kept open, so readers need no lock and can be
  pickled.

  Args:
    root: path or address of the folder or zip.
    folder: a folder inside it; names are relative to it. It may also be below
      the only folder at the top, as in a zip of a whole folder.

  Attributes:
    root: path or address of the folder or zip.
    folder: the folder inside the root that names are relative to.
    names: names of all files, sorted.
    folders: names of all folders, sorted, with those that are empty.

  Raises:
    UsageError: the folder or zip does not exist, or the zip is damaged.
  """

  def __init__(self, root: str | os.PathLike[str], folder: str = ""):
    self._container = open_container(root)
    self.root = self._container.root
    self.folder = ""
    if self._container.listed:
      self._sort(self._container.walk())
      self._narrow(self._find(folder.strip("/")))
    else:
      self.folder = self._find(folder.strip("/"))
      self._sort(self._container.walk(self.folder))

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
    if self._container.listed:
      return path in self.folders
    return os.path.isdir(os.path.join(self.root, path))

  def _subfolders(self, path: str) -> list[str]:
    """Returns the names of the visible folders directly in a folder."""
    if self._container.listed:
      return [
        folder.rpartition("/")[2]
        for folder in self.folders
        if folder.rpartition("/")[0] == path
      ]
    with os.scandir(os.path.join(self.root, path)) as entries:
      names = [entry.name for entry in entries if entry.is_dir()]
    return [name for name in names if not is_hidden(name)]

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
    return os.path.join(self.root, self.folder, name).rstrip("/")

  def read(self, name: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
      UsageError: the file is missing or damaged.
    """
    try:
      return self._container.read(posixpath.join(self.folder, name))
    except FileNotFoundError:
      raise UsageError(f"{self.path(name)} does not exist") from None
    except UsageError:
      raise
    except (
      OSError,
      RuntimeError,  # of zipfile: encrypted, or another compression
      ValueError,
      EOFError,
      lzma.LZMAError,
      struct.error,
      zipfile.BadZipFile,
      zlib.error,
    ) as error:
      raise UsageError(
        f"{self.path(name)} cannot be read: {reason(error)}"
      ) from error

  def prefetch(self, names: Iterable[str]) -> None:
    """Announces that files will be read: those of a bucket are downloaded."""
    self._container.prefetch(posixpath.join(self.folder, n) for n in names)

  def open(self, name: str) -> RandomAccessFile:
    """Returns a file for reading at any position.

    Raises:
      UsageError: the file is missing, or the files are those of a zip.
    """
    try:
      return self._container.open(posixpath.join(self.folder, name))
    except FileNotFoundError:
      raise UsageError(f"{self.path(name)} does not exist") from None
