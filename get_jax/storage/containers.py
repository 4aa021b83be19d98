"""Containers of data files: a folder, a zip, or a folder of a bucket.

A container has the attribute `root`, for messages, and can be pickled.
"""

import errno
import os
import pathlib
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from get_jax.errors import UsageError, reason
from get_jax.storage.cache import get_cache
from get_jax.storage.expansion import check_expansion
from get_jax.storage.objects import RemoteObject, list_objects
from get_jax.storage.paths import as_path, is_remote
from get_jax.storage.random_access import (
  CachedFile,
  LocalFile,
  RandomAccessFile,
  open_file,
)

_LOCAL_HEADER = struct.Struct("<4s22xHH")
# Most programs write fewer bytes between the name and the content of a file.
_USUAL_EXTRA = 64


class Container(Protocol):
  """Files by name, with "/" between folders.

  Attributes:
    root: path or address.
    listed: whether all names are known, so that nothing needs to be walked.
  """

  root: str
  listed: bool

  def walk(self, folder: str = "") -> Iterator[str]:
    """Yields the names of files and folders (with "/"), relative to a folder.

    Args:
      folder: a folder inside; must be "" if the container is `listed`.
    """

  def read(self, name: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
      FileNotFoundError: it does not exist.
      OSError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error: it is
        damaged.
    """

  def prefetch(self, names: Iterable[str]) -> None:
    """Announces that files will be read."""

  def open(self, name: str) -> RandomAccessFile:
    """Returns a file for reading at any position.

    Raises:
      FileNotFoundError: it does not exist.
      UsageError: the container is a zip.
    """


class Folder:
  """A folder on disk; links to folders are followed."""

  listed = False

  def __init__(self, root: str):
    self.root = root

  def walk(self, folder: str = "") -> Iterator[str]:
    """See `Container.walk`."""
    base = os.path.join(self.root, folder)
    # Of each folder to be read, its real path and those of the folders above.
    chains: dict[str, tuple[str, ...]] = {base: (os.path.realpath(base),)}
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

  def read(self, name: str) -> bytes:
    """See `Container.read`."""
    with open(f"{self.root}/{name}", "rb", buffering=0) as file:
      return file.readall()

  def prefetch(self, names: Iterable[str]) -> None:
    """See `Container.prefetch`."""

  def open(self, name: str) -> RandomAccessFile:
    """See `Container.open`."""
    return LocalFile(f"{self.root}/{name}")


class BucketFolder:
  """A folder of a bucket; its objects are listed once and read when needed."""

  listed = True

  def __init__(self, root: str):
    self.root, self.objects = root, list_objects(root)
    self._cache = get_cache()

  def walk(self, folder: str = "") -> Iterator[str]:
    """See `Container.walk`."""
    del folder
    yield from self.objects

  def read(self, name: str) -> bytes:
    """See `Container.read`."""
    remote = self._find(name)
    return self._cache.read(remote, 0, remote.size)

  def prefetch(self, names: Iterable[str]) -> None:
    """See `Container.prefetch`."""
    objects = [self.objects[name] for name in names if name in self.objects]
    self._cache.prefetch((remote, 0, remote.size) for remote in objects)

  def open(self, name: str) -> RandomAccessFile:
    """See `Container.open`."""
    return CachedFile(self._find(name), self._cache)

  def _find(self, name: str) -> RemoteObject:
    if name not in self.objects:
      raise _missing(f"{self.root}/{name}")
    return self.objects[name]


class _Entry(NamedTuple):
  """A file in a zip: where its local header is, and how it is compressed."""

  name: str
  offset: int
  compressed_size: int
  size: int
  method: int
  crc: int


class Zip:
  """A zip file; only offsets, sizes and checksums are kept in memory."""

  listed = True

  def __init__(self, file: RandomAccessFile):
    self.root, self._file = file.path, file
    self._entries: dict[str, _Entry] = {}
    self._folders: list[str] = []
    try:
      with file.open() as opened, zipfile.ZipFile(opened) as archive:
        for info in archive.infolist():
          # Some programs write "./a/b", "/a/b" or "a\b".
          name = posixpath.normpath(info.filename.replace("\\", "/"))
          name = name.lstrip("/")
          if info.is_dir():
            self._folders.append(f"{name}/")
          else:
            self._entries[name] = _Entry(
              info.filename,
              info.header_offset,
              info.compress_size,
              info.file_size,
              info.compress_type,
              info.CRC,
            )
    except (
      zipfile.BadZipFile,
      OSError,
      ValueError,
      IndexError,
      NotImplementedError,
      struct.error,
    ) as error:
      raise UsageError(
        f"{self.root} is neither a folder nor a readable zip ({reason(error)})"
      ) from error

  def walk(self, folder: str = "") -> Iterator[str]:
    """See `Container.walk`."""
    del folder
    yield from self._entries
    yield from self._folders

  def read(self, name: str) -> bytes:
    """See `Container.read`."""
    if name not in self._entries:
      raise _missing(f"{self.root}/{name}")
    entry = self._entries[name]
    if entry.compressed_size > self._file.size:
      raise ValueError("it is longer than the zip")
    check_expansion(entry.compressed_size, entry.size)
    if entry.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
      # Rare: zipfile decompresses, and reads the directory again every time.
      with self._file.open() as opened, zipfile.ZipFile(opened) as archive:
        return archive.read(entry.name)
    start, stop = _span(entry)
    record = self._file.read(start, stop)
    _, name_length, extra_length = _LOCAL_HEADER.unpack_from(record)
    begin = _LOCAL_HEADER.size + name_length + extra_length
    content = record[begin : begin + entry.compressed_size]
    if missing := entry.compressed_size - len(content):
      position = start + begin + len(content)
      content += self._file.read(position, position + missing)
    if entry.method == zipfile.ZIP_DEFLATED:
      # No more bytes than declared, however many the content stands for.
      inflate = zlib.decompressobj(-zlib.MAX_WBITS)
      content = inflate.decompress(content, entry.size + 1)
    if len(content) != entry.size:
      raise ValueError(f"it has not the size of {entry.size} bytes")
    if zlib.crc32(content) != entry.crc:
      raise ValueError("its checksum does not match")
    return content

  def prefetch(self, names: Iterable[str]) -> None:
    """See `Container.prefetch`."""
    for name in names:
      if name in self._entries:
        self._file.prefetch(*_span(self._entries[name]))

  def open(self, name: str) -> RandomAccessFile:
    """See `Container.open`."""
    raise UsageError(f"{self.root} is a zip; expected a folder with {name}")


def _missing(path: str) -> FileNotFoundError:
  return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _span(entry: _Entry) -> tuple[int, int]:
  """Returns start and end of what usually holds a file and its header."""
  size = _LOCAL_HEADER.size + len(entry.name.encode()) + _USUAL_EXTRA
  return entry.offset, entry.offset + size + entry.compressed_size


def open_container(root: str | os.PathLike[str]) -> Container:
  """Opens a folder, a zip, or either in a bucket.

  Raises:
    UsageError: it does not exist, or is a file but no zip.
  """
  path = os.fspath(as_path(root))
  if os.path.isdir(path):
    return Folder(path)
  try:
    return Zip(open_file(path))
  except FileNotFoundError:
    pass
  if is_remote(path) and (folder := BucketFolder(path)).objects:
    return folder
  raise UsageError(f"folder or zip {path} does not exist")
