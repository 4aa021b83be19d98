"""SHA-256 of files, kept in a file next to each as `sha256sum` writes it."""

import functools
import os
import pathlib

import pooch

from get_jax.errors import UsageError, printable

SUFFIX = ".sha256"


def verify(path: pathlib.Path, published: str = "") -> str:
  """Checks a file against its published SHA-256 and that of its first use.

  The first use of a file stores its SHA-256 as `<path>.sha256`.

  Args:
    path: the file.
    published: the published SHA-256, or its first digits; "" for none.

  Returns:
    The SHA-256 of the file, in hexadecimal.

  Raises:
    UsageError: the file is another one.
  """
  digest = file_digest(path)
  if not digest.startswith(published):
    raise UsageError(
      f"{path} has the SHA-256 {digest}; expected the published one, "
      f"{published}{'...' if len(published) < len(digest) else ''}: delete the "
      "file to fetch it again"
    )
  recorded = read_record(path)
  if recorded is None:
    record(path, path)
  elif recorded != digest:
    raise UsageError(
      f"{path} has the SHA-256 {digest}; expected {printable(recorded)}, that "
      "of its first use: delete it to fetch it again, or delete "
      f"{path.name}{SUFFIX} if the new file is the right one"
    )
  return digest


def read_record(path: pathlib.Path) -> str | None:
  """Returns the SHA-256 of the first use of a file; None if there is none."""
  try:
    content = path.with_name(path.name + SUFFIX).read_bytes()
  except FileNotFoundError:
    return None
  words = content.decode("utf-8", "replace").split()
  return words[0] if words else None


def record(file: pathlib.Path, path: pathlib.Path) -> None:
  """Stores the SHA-256 of `file` as that of the first use of `path`."""
  target = path.with_name(path.name + SUFFIX)
  temporary = target.with_name(f".{target.name}.{os.getpid()}")
  temporary.write_text(f"{file_digest(file)}  {path.name}\n", "utf-8")
  temporary.replace(target)


def file_digest(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file, computed once per process and version."""
  stat = path.stat()
  return _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.cache
def _digest(path: pathlib.Path, *version: int) -> str:
  del version  # part of the key of the cache
  return pooch.file_hash(os.fspath(path))
