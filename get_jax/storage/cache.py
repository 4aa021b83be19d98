"""The local cache of objects in buckets: byte ranges, files and folders.

An object is downloaded in blocks, when they are needed, and each block once.
Readers that need a file of their own, such as those that map it into memory,
get a copy of the whole object.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import logging
import os
import pathlib
import queue
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from get_jax.errors import UsageError
from get_jax.progress import ProgressBar
from get_jax.storage.disk_store import DiskStore
from get_jax.storage.json_files import read_json_object
from get_jax.storage.objects import RemoteObject

BLOCK = 8 * 2**20  # bytes
THREADS = 16  # parallel downloads
DEFAULT_GIB = 64.0
# Downloads that may wait; further prefetches are dropped.
_QUEUE_SIZE = 4096
_SUMS = "sha256.json"
log = logging.getLogger(__name__)

Range = tuple[RemoteObject, int, int]


class Cache:
  """Reads objects through files on the local disk.

  Threads and processes may share a cache, and worker processes may receive it
  pickled. A block is downloaded by one of them. Files that are missing or
  damaged are downloaded again, so the directory may be deleted at any moment.
  Objects are cached by version: one that was replaced is downloaded anew.

  Args:
    directory: directory of the cache, on a local disk.
    max_bytes: bound of the size of the cached objects; the least recently used
      ones are removed. See `DiskStore`.

  Raises:
    UsageError: the directory cannot be written.
  """

  def __init__(self, directory: str | os.PathLike[str], max_bytes: int):
    self.directory = pathlib.Path(directory).expanduser()
    self.store = DiskStore(self.directory / "objects", max_bytes)
    self._start()

  def _start(self) -> None:
    self._lock = threading.Lock()
    self._queue: queue.Queue[tuple[RemoteObject, int]] | None = None
    self._queued: set[str] = set()
    self._downloaded: set[str] = set()
    self._verified: dict[str, float] = {}
    self._warned = False

  def __getstate__(self) -> dict[str, Any]:
    return {"directory": self.directory, "store": self.store}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)
    self._start()

  def read(self, obj: RemoteObject, start: int, stop: int) -> bytes:
    """Returns bytes of an object; those beyond its end are left out.

    Args:
      obj: the object.
      start: first byte.
      stop: end of the bytes.

    Raises:
      UsageError: the object was replaced or deleted.
    """
    parts = [
      self._read_block(obj, index, max(start, first), min(stop, last))
      for index, first, last in _blocks(obj, start, stop)
    ]
    return parts[0] if len(parts) == 1 else b"".join(parts)

  def prefetch(self, ranges: Iterable[Range]) -> None:
    """Starts to download the blocks that hold byte ranges, in parallel.

    Args:
      ranges: (object, start, stop) each.
    """
    for obj, start, stop in ranges:
      for index, _, _ in _blocks(obj, start, stop):
        name = _block_name(obj, index)
        if name not in self._queued and not self.store.path(name).exists():
          self._enqueue(obj, index)

  def local_copy(self, obj: RemoteObject) -> pathlib.Path:
    """Returns a file with the content of an object, named like it.

    The file may be removed when the cache is full; processes that have opened
    it keep it.

    Raises:
      UsageError: the object was replaced or deleted.
    """
    name = obj.url.rpartition("/")[2]
    return self.local_folder({name: obj}) / name

  def local_folder(self, objects: Mapping[str, RemoteObject]) -> pathlib.Path:
    """Returns a folder with copies of objects.

    Args:
      objects: the objects by name in the folder, with "/" for subfolders.

    Raises:
      UsageError: an object was replaced or deleted.
    """
    text = json.dumps([[name, objects[name].key] for name in sorted(objects)])
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    folder = self.store.path(name)
    if self.is_whole(folder):
      return folder
    with self.store.exclusive(name):
      if not self.is_whole(folder):
        self.store.remove(name)
        with _unfinished(folder) as target:
          sums = {n: _download(o, target / n) for n, o in objects.items()}
          (target / _SUMS).write_text(json.dumps(sums), "utf-8")
          os.replace(target, folder)
        self._verified[name] = os.stat(folder / _SUMS).st_mtime
        self.store.count(name, sum(obj.size for obj in objects.values()))
    return folder

  def _read_block(
    self, obj: RemoteObject, index: int, start: int, stop: int
  ) -> bytes:
    """Returns the bytes from `start` to `stop` - 1, which are in one block."""
    first, name = index * BLOCK, _block_name(obj, index)
    span = start - first, stop - first
    size = min(BLOCK, obj.size - first)
    content = self.store.read(name, size, *span)
    if content is None:
      content = self._download_block(obj, index)[slice(*span)]
    return content

  def _download_block(self, obj: RemoteObject, index: int) -> bytes:
    """Returns a block, which no other thread or process downloads."""
    first, name = index * BLOCK, _block_name(obj, index)
    size = min(BLOCK, obj.size - first)
    with self.store.exclusive(name):
      content = self.store.read(name, size, 0, size)
      if content is None:
        content = obj.read(first, first + size)
        self.store.write(name, content)
        self._warn_if_small(name)
    return content

  def _warn_if_small(self, name: str) -> None:
    """Warns once if the cache is smaller than what is read through it."""
    if name in self._downloaded and self.store.removed and not self._warned:
      self._warned = True
      log.warning(
        "the cache in %s is full, and data is downloaded repeatedly; expected "
        "--cache_size to be larger than the data",
        self.directory,
      )
    self._downloaded.add(name)

  def _enqueue(self, obj: RemoteObject, index: int) -> None:
    with self._lock:
      if self._queue is None:
        self._queue = queue.Queue(_QUEUE_SIZE)
        for _ in range(THREADS):
          # Daemons: a process that ends doesn't wait for downloads.
          threading.Thread(target=self._work, daemon=True).start()
    with contextlib.suppress(queue.Full):
      self._queue.put_nowait((obj, index))
      self._queued.add(_block_name(obj, index))

  def _work(self) -> None:
    """Downloads the blocks of the queue."""
    assert self._queue is not None
    while True:
      obj, index = self._queue.get()
      # The reader of the block meets the same error, and reports it.
      with contextlib.suppress(Exception):
        if not self.store.path(_block_name(obj, index)).exists():
          self._download_block(obj, index)
      self._queued.discard(_block_name(obj, index))

  def is_whole(self, folder: pathlib.Path) -> bool:
    """Returns whether a folder has what was downloaded; marks its use."""
    try:
      written = os.stat(folder / _SUMS).st_mtime
      if self._verified.get(folder.name) != written:
        sums = read_json_object(folder / _SUMS, "checksums")
        for name, digest in sums.items():
          if ".." in pathlib.PurePosixPath(name).parts or name.startswith("/"):
            return False
          if _sha256(folder / name) != digest:
            log.warning("%s is damaged; it is downloaded again", folder / name)
            return False
        self._verified[folder.name] = written
      os.utime(folder)
    except (OSError, ValueError):
      return False
    return True


_settings: tuple[pathlib.Path | None, float] = None, DEFAULT_GIB
_cache: Cache | None = None


def configure(
  directory: str | os.PathLike[str] | None = None,
  gibibytes: float = DEFAULT_GIB,
) -> None:
  """Sets the cache of this process.

  Args:
    directory: directory of the cache; None selects $XDG_CACHE_HOME/get_jax, or
      ~/.cache/get_jax.
    gibibytes: bound of the size of the cached objects, in GiB.
  """
  global _settings, _cache
  _settings = pathlib.Path(directory) if directory else None, gibibytes
  _cache = None


def cache_directory() -> pathlib.Path:
  """Returns the directory of the cache, which may not exist yet."""
  if _settings[0] is not None:
    return _settings[0].expanduser()
  base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(base).expanduser() / "get_jax"


def get_cache() -> Cache:
  """Returns the cache of this process; its directory is created if needed.

  Raises:
    UsageError: the directory cannot be written.
  """
  global _cache
  if _cache is None:
    _cache = Cache(cache_directory(), int(_settings[1] * 2**30))
  return _cache


def _blocks(
  obj: RemoteObject, start: int, stop: int
) -> Iterator[tuple[int, int, int]]:
  """Yields (index, first byte, end) of the blocks that hold a range."""
  start, stop = max(start, 0), min(stop, obj.size)
  if start < stop:
    for index in range(start // BLOCK, (stop - 1) // BLOCK + 1):
      yield index, index * BLOCK, (index + 1) * BLOCK


def _block_name(obj: RemoteObject, index: int) -> str:
  return f"{obj.key}-{index}"


@contextlib.contextmanager
def _unfinished(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields an empty folder to fill; it is removed if it is still there."""
  target = folder.with_name(f"{folder.name}.new")
  shutil.rmtree(target, ignore_errors=True)
  target.mkdir(parents=True)
  try:
    yield target
  finally:
    shutil.rmtree(target, ignore_errors=True)


def _download(obj: RemoteObject, path: pathlib.Path) -> str:
  """Downloads an object in parallel; returns the SHA-256 of the file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  starts = range(0, obj.size, BLOCK)
  with open(path, "wb", buffering=0) as file:

    def copy(start: int) -> None:
      content = obj.read(start, min(start + BLOCK, obj.size))
      try:
        complete = os.pwrite(file.fileno(), content, start) == len(content)
        reason = "" if complete else "the disk is full"
      except OSError as error:
        reason = str(error.strerror)
      if reason:
        raise UsageError(
          f"the copy of {obj.url} cannot be written to {path} ({reason}); "
          f"expected {obj.size / 2**30:.2g} GiB of free space in --cache_dir"
        )

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
      copies = pool.map(copy, starts)
      title, small = f"downloading {obj.url}", len(starts) < THREADS
      for _ in ProgressBar(copies, title, len(starts), disable=small):
        pass
  return _sha256(path)


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
