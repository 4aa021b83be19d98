"""Opens files on disk and in buckets to read them at any position."""

import errno
import io
import os
import pathlib
from collections.abc import Container
from typing import Protocol

from get_jax.storage.cache import BLOCK, Cache, get_cache
from get_jax.storage.objects import RemoteObject, find_object, list_objects
from get_jax.storage.paths import as_path, is_remote

_READAHEAD = 16  # blocks
_BUFFER = 2**16  # bytes


class RandomAccessFile(Protocol):
  """A file that is read at any position.

  It holds no open file: threads may share it, and worker processes may receive
  it pickled.

  Attributes:
    path: path or address, for messages.
    size: number of bytes.
  """

  @property
  def path(self) -> str: ...  # noqa: D102

  @property
  def size(self) -> int: ...  # noqa: D102

  def read(self, start: int, stop: int) -> bytes:
    """Returns the bytes from `start` to `stop` - 1; fewer at the end."""

  def prefetch(self, start: int, stop: int) -> None:
    """Announces that these bytes will be read."""

  def open(self) -> io.BufferedReader:
    """Returns the file, open for reading in binary mode and seekable."""

  def local_copy(self) -> pathlib.Path:
    """Returns a path on disk with the same content."""


class LocalFile:
  """A file on disk; see `RandomAccessFile`.

  Raises:
    FileNotFoundError, IsADirectoryError: it is no file.
  """

  def __init__(self, path: str):
    self.path, self.size = path, os.stat(path).st_size
    if os.path.isdir(path):
      raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)

  def read(self, start: int, stop: int) -> bytes:
    """See `RandomAccessFile.read`."""
    with open(self.path, "rb", buffering=0) as file:
      file.seek(start)
      return file.read(stop - start)

  def prefetch(self, start: int, stop: int) -> None:
    """See `RandomAccessFile.prefetch`."""

  def open(self) -> io.BufferedReader:
    """See `RandomAccessFile.open`."""
    return open(self.path, "rb")

  def local_copy(self) -> pathlib.Path:
    """See `RandomAccessFile.local_copy`."""
    return pathlib.Path(self.path)


class CachedFile:
  """An object in a bucket, read through the cache; see `RandomAccessFile`."""

  def __init__(self, remote: RemoteObject, cache: Cache | None = None):
    self.remote, self.cache = remote, cache or get_cache()
    self.path, self.size = remote.url, remote.size

  def read(self, start: int, stop: int) -> bytes:
    """See `RandomAccessFile.read`."""
    return self.cache.read(self.remote, start, stop)

  def prefetch(self, start: int, stop: int) -> None:
    """See `RandomAccessFile.prefetch`."""
    self.cache.prefetch([(self.remote, start, stop)])

  def open(self) -> io.BufferedReader:
    """See `RandomAccessFile.open`."""
    return io.BufferedReader(_Stream(self), _BUFFER)

  def local_copy(self) -> pathlib.Path:
    """See `RandomAccessFile.local_copy`."""
    return self.cache.local_copy(self.remote)


class _Stream(io.RawIOBase):
  """The position in a cached file; reading in order downloads ahead."""

  def __init__(self, file: CachedFile):
    self._file, self._position = file, 0
    self._last = 0  # end of the last read
    self._ahead = 0  # end of what was announced

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def tell(self) -> int:
    return self._position

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    base = {
      os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size
    }  # fmt: skip
    if base[whence] + offset < 0:
      raise OSError(f"position {offset} is before the start of the file")
    self._position = base[whence] + offset
    return self._position

  def readinto(self, buffer) -> int:
    start = self._position
    stop = min(start + len(buffer), self._file.size)
    if not 0 <= start - self._last <= BLOCK:
      self._ahead = stop
    elif self._ahead < stop + _READAHEAD // 2 * BLOCK:
      ahead = stop + _READAHEAD * BLOCK
      self._file.prefetch(max(self._ahead, stop), ahead)
      self._ahead = ahead
    self._last = stop
    content = self._file.read(start, stop)
    buffer[: len(content)] = content
    self._position += len(content)
    return len(content)


def open_file(path: str | os.PathLike[str]) -> RandomAccessFile:
  """Opens a file for reading at any position.

  Args:
    path: path of a file on disk, or address of an object, which is read through
      the cache.

  Raises:
    FileNotFoundError: the file does not exist.
    IsADirectoryError: the path is a folder on disk.
  """
  name = os.fspath(as_path(path))
  if not is_remote(name):
    return LocalFile(name)
  remote = find_object(name)
  if remote is None:
    raise FileNotFoundError(f"{path} does not exist")
  return CachedFile(remote)


def local_folder(
  path: str | os.PathLike[str], names: Container[str] | None = None
) -> pathlib.Path:
  """Returns a folder on disk with the files of a folder.

  Args:
    path: the folder. One in a bucket is copied into the cache.
    names: names of the files that are needed; None needs all.
  """
  if not is_remote(path):
    return pathlib.Path(as_path(path))
  objects = list_objects(os.fspath(path))
  return get_cache().local_folder(
    {
      name: remote
      for name, remote in objects.items()
      if (names is None or name in names) and not name.endswith("/")
    }
  )
