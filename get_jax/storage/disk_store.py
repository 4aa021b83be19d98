"""A directory of cached files: checksummed, size-bounded, shared by processes.

Every file is written under another name and renamed, so it is whole or absent.
Any file, and the whole directory, may be deleted at any moment.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import NamedTuple

from get_jax.errors import UsageError

_DIGEST_SIZE = hashlib.sha256().digest_size
# Seconds between updates of the time of last use, by which files are removed.
_TOUCH_INTERVAL = 60.0
log = logging.getLogger(__name__)


class _Entry(NamedTuple):
  """A file or folder of the store."""

  used: float
  size: int
  path: str


class DiskStore:
  """Files by name in a directory, the least recently used of which are removed.

  Threads and processes may share a directory. A file ends in the SHA-256 of its
  name and content. It is compared when a process first reads the file, or
  whenever the file is read whole.

  Args:
    directory: the directory; created if needed.
    max_bytes: size of all files above which files are removed. The size is
      exceeded by what the processes have written since they last counted, at
      most a sixteenth of it each.

  Attributes:
    removed: number of files that this process has removed to stay below
      `max_bytes`.

  Raises:
    UsageError: the directory cannot be written.
  """

  def __init__(self, directory: str | os.PathLike[str], max_bytes: int):
    self.directory = pathlib.Path(directory).expanduser()
    self.max_bytes = max_bytes
    self.removed = 0
    self._verified: dict[str, tuple[int, int, int]] = {}
    self._uncounted: int | None = None  # None: nothing has been counted yet
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
      writable = os.access(self.directory, os.W_OK | os.X_OK)
      reason = "" if writable else "permission denied"
    except OSError as error:
      reason = str(error.strerror)
    if reason:
      raise UsageError(
        f"--cache_dir={self.directory} cannot be written ({reason}); expected "
        "a folder on a local disk"
      )

  def path(self, name: str) -> pathlib.Path:
    """Returns the path of a file; files are spread over 256 folders."""
    return self.directory / name[:2] / name

  def read(self, name: str, size: int, start: int, stop: int) -> bytes | None:
    """Returns a part of a file, or None if it is missing or damaged.

    Args:
      name: name of the file.
      size: expected size of the content.
      start: first byte to return.
      stop: end of the bytes to return.
    """
    try:
      with open(self.path(name), "rb", buffering=0) as file:
        stat = os.fstat(file.fileno())
        identity = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if (start, stop) != (0, size) and self._verified.get(name) == identity:
          self._touch(stat, self.path(name))
          content = os.pread(file.fileno(), stop - start, start)
          return content if len(content) == stop - start else None
        content = file.readall()
    except OSError:
      return None
    body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    if len(body) != size or _digest(name, body) != digest:
      log.warning("%s is damaged; it is downloaded again", self.path(name))
      self.remove(name)
      return None
    self._verified[name] = identity
    self._touch(stat, self.path(name))
    return body[start:stop]

  def write(self, name: str, content: bytes) -> None:
    """Writes a file, for a caller that holds `exclusive(name)`.

    A full disk, or a directory that was deleted, is no error: the file is
    missing then.
    """
    part = self.part(name)
    try:
      with open(part, "wb", buffering=0) as file:
        for piece in (content, _digest(name, content)):
          if file.write(piece) != len(piece):
            raise OSError("the disk is full")
      os.replace(part, self.path(name))
    except OSError as error:
      log.warning("%s is not cached: %s", self.path(name), error)
      part.unlink(missing_ok=True)
      return
    self.count(name, len(content))

  def part(self, name: str) -> pathlib.Path:
    """Returns the path of a file while it is written."""
    path = self.path(name)
    return path.with_name(f"{path.name}.part")

  @contextlib.contextmanager
  def exclusive(self, name: str) -> Iterator[None]:
    """Waits until no other thread or process writes a file.

    The lock is the file under its temporary name. It is released when the
    process ends.
    """
    part = self.part(name)
    while True:
      try:
        part.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
      except FileNotFoundError:  # The directory is being deleted.
        continue
      fcntl.flock(handle, fcntl.LOCK_EX)
      try:
        # Another holder may have renamed or removed the file meanwhile.
        if os.fstat(handle).st_ino == os.stat(part).st_ino:
          break
      except FileNotFoundError:
        pass
      os.close(handle)
    try:
      yield
    finally:
      with contextlib.suppress(OSError):
        if os.fstat(handle).st_ino == os.stat(part).st_ino:
          part.unlink()
      os.close(handle)

  def remove(self, name: str) -> None:
    """Removes a file or folder; it may be missing."""
    _remove(str(self.path(name)))

  def count(self, name: str, size: int) -> None:
    """Records that a file or folder was written; removes others if needed.

    Args:
      name: what was written; it is kept.
      size: its size in bytes.
    """
    if self._uncounted is not None:
      self._uncounted += size
    if self._uncounted is None or self._uncounted > self.max_bytes // 16:
      self._trim(str(self.path(name)))
      self._uncounted = 0

  def _trim(self, keep: str) -> None:
    """Removes the least recently used files if there are too many bytes."""
    entries = sorted(_scan(self.directory))
    total = sum(entry.size for entry in entries)
    if total <= self.max_bytes:
      return
    for entry in entries:
      if total <= self.max_bytes - self.max_bytes // 16:
        break
      if entry.path != keep:
        _remove(entry.path)
        total -= entry.size
        self.removed += 1

  def _touch(self, stat: os.stat_result, path: pathlib.Path) -> None:
    """Updates the time of last use; the time of the content stays."""
    now = time.time()
    if now - stat.st_atime > _TOUCH_INTERVAL:
      with contextlib.suppress(OSError):
        os.utime(path, ns=(int(now * 1e9), stat.st_mtime_ns))


def _digest(name: str, content: bytes) -> bytes:
  digest = hashlib.sha256(name.encode())
  digest.update(content)
  return digest.digest()


def _remove(path: str) -> None:
  try:
    os.unlink(path)
  except IsADirectoryError:
    shutil.rmtree(path, ignore_errors=True)
  except FileNotFoundError:
    pass


def _scan(directory: pathlib.Path) -> Iterator[_Entry]:
  """Yields the files and folders of a store; those deleted meanwhile not."""
  for folder in _scandir(directory):
    if folder.is_dir():
      for entry in _scandir(folder.path):
        with contextlib.suppress(OSError):
          stat = entry.stat()
          folder_size = _folder_size(entry.path) if entry.is_dir() else 0
          yield _Entry(stat.st_atime, folder_size or stat.st_size, entry.path)


def _folder_size(path: str) -> int:
  return sum(
    os.path.getsize(os.path.join(root, name))
    for root, _, names in os.walk(path)
    for name in names
  )


def _scandir(path: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
  try:
    with os.scandir(path) as entries:
      return list(entries)
  except OSError:
    return []
