"""Paths on disk and in buckets, and what differs between the two.

`Path` is `etils.epath.Path`: it works like `pathlib.Path`, on `gs://` and `s3://`
too. A bucket has no rename, no append and no lock, so files are written here: a
reader sees the old content or the new, never a part of it, and a process that
is killed while it writes leaves the old content.

`os.fspath` of a path in a bucket is its URL. What opens files by name (`open`,
`np.load`, PIL, zipfile, mmap) needs `path.open("rb")`, or `open_file` of
`get_jax.storage.random_access`, instead.
"""

import contextlib
import fcntl
import glob
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any

# etils would use TensorFlow for gs:// where it is installed.
os.environ.setdefault("EPATH_USE_TF", "false")

from etils.epath import Path

from get_jax.errors import UsageError
from get_jax.storage.bucket_errors import explained_write
from get_jax.storage.buckets import PACKAGES, filesystem

__all__ = [
  "Path",
  "StrPath",
  "as_path",
  "atomic_writer",
  "is_remote",
  "move_folder",
  "write_bytes",
  "write_text",
]

StrPath = str | os.PathLike[str]

TEMPORARY_SUFFIX = ".tmp"


def as_path(path: StrPath) -> Path:
  """Returns a path on disk or in a bucket.

  Args:
    path: "gs://bucket/...", "s3://bucket/..." or a path on disk, in which "~"
      is expanded.

  Raises:
    UsageError: the path has another scheme, no bucket, or its scheme needs a
      package that is not installed.
  """
  text = os.fspath(path)
  scheme, separator, rest = text.partition("://")
  if not separator:
    return Path(os.path.expanduser(text))
  if scheme not in PACKAGES:
    raise UsageError(
      f"{text} cannot be opened; expected a path on disk, gs://BUCKET/... or "
      "s3://BUCKET/..."
    )
  if not rest.strip("/"):
    raise UsageError(f"{text} names no bucket; expected {scheme}://BUCKET/...")
  filesystem(text)
  return Path(text)


def is_remote(path: StrPath) -> bool:
  """Returns whether a path is in a bucket."""
  return "://" in os.fspath(path)


def write_bytes(path: StrPath, content: bytes) -> None:
  """Writes a file atomically, and creates its folder.

  Args:
    path: the file.
    content: its new content.

  Raises:
    OSError: the disk is full, or the file cannot be written.
    UsageError: the bucket cannot be written.
  """
  target = as_path(path)
  if is_remote(target):
    # In one request: repeating it changes nothing.
    url, size = os.fspath(target), len(content) + 1
    with explained_write(url):
      filesystem(url).pipe_file(url, content, chunksize=size)
    return
  with atomic_writer(target) as file:
    file.write(content)


def write_text(path: StrPath, content: str) -> None:
  """Writes a text file (UTF-8) atomically, as `write_bytes` does."""
  write_bytes(path, content.encode())


@contextlib.contextmanager
def atomic_writer(path: StrPath) -> Iterator[IO[bytes]]:
  """Opens a binary file that replaces `path` at the end of the context.

  After an exception inside, `path` is what it was before. On disk the content
  goes to a temporary file, which is synchronized and renamed; to a bucket it is
  sent in parts, and becomes visible with the last one. The file of a bucket
  cannot seek. What killed processes have left of `path` is removed.

  Args:
    path: the file; its folder is created if necessary.

  Yields:
    The file to write to.
  """
  target = as_path(path)
  if is_remote(target):
    url = os.fspath(target)
    file: Any = filesystem(url).open(url, "wb")
    try:
      yield file
    except BaseException:
      # Closing the file would commit what is written so far.
      with contextlib.suppress(Exception):
        file.discard()
      file.closed = True
      raise
    with explained_write(url):
      file.close()
    return
  target.parent.mkdir(parents=True, exist_ok=True)
  _remove_abandoned(target)
  name = f".{target.name}.{os.getpid()}{TEMPORARY_SUFFIX}"
  temporary = pathlib.Path(target.parent, name)
  try:
    with _open_locked(temporary) as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
      temporary.replace(target)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def _remove_abandoned(target: Path) -> None:
  """Removes the temporary files of a file that no living process writes."""
  name = glob.escape(target.name)
  for part in target.parent.glob(f".{name}.*{TEMPORARY_SUFFIX}"):
    # A writer has a lock. Where there are no locks, the files stay.
    with contextlib.suppress(OSError), open(part, "rb") as file:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      part.unlink()


def _open_locked(path: pathlib.Path) -> IO[bytes]:
  """Opens a file for writing, with a lock until it is closed."""
  while True:
    file = path.open("wb")
    with contextlib.suppress(OSError):  # not every file system has locks
      fcntl.flock(file, fcntl.LOCK_EX)
    # Another process may have taken it for abandoned before it was locked.
    with contextlib.suppress(FileNotFoundError):
      if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
        return file
    file.close()


def move_folder(source: Path, target: Path) -> None:
  """Moves a folder to a name that does not exist.

  In a bucket each object is copied there, by the server, and then deleted; if
  that is interrupted, either folder may have a part of them.
  """
  if not is_remote(source):
    source.rename(target)
    return
  url = os.fspath(source)
  store = filesystem(url)
  for name in store.find(url):
    relative = name.partition(f"{store._strip_protocol(url)}/")[2]
    store.cp_file(name, store._strip_protocol(os.fspath(target / relative)))
  source.rmtree()
