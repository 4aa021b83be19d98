"""One writer per directory: a lock on disk, a lease in a bucket.

On disk the writer locks a file, and the system releases it with the process. In
a bucket the writer creates an object and renews it while it lives. Others
observe the version of the object: if it changes, the writer lives; if it does
not change for `DURATION`, the lease has expired and is taken over. No clocks of
two machines are compared. On the machine of a dead writer its lease expires at
once.
"""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import platform
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, Self

from get_jax.errors import UsageError
from get_jax.progress import print_ending
from get_jax.storage.bucket_errors import BucketError
from get_jax.storage.conditional import delete_if, replace_if, version_of
from get_jax.storage.json_files import parse_json
from get_jax.storage.paths import Path, StrPath, as_path, is_remote

# Seconds without a renewal after which a lease expires, and between renewals.
DURATION, RENEWAL = 60.0, 10.0
EXIT_CODE_LOST = 76
log = logging.getLogger(__name__)


def _exit(message: str) -> NoReturn:
  """Ends the process at once: whatever it writes now is another writer's."""
  print_ending("Failed", message)
  os._exit(EXIT_CODE_LOST)


class Lease:
  """The right to write to a directory; a context.

  Args:
    path: file or object of the lease; its folder exists.
    message: sentence for the second writer.
    duration: seconds; see `DURATION`.
    renewal: seconds between two renewals.
    on_lost: called with a sentence, in another thread, when a lease in a bucket
      could not be renewed in time; by default the process exits with code 76.
  """

  def __init__(
    self,
    path: StrPath,
    message: str,
    duration: float = DURATION,
    renewal: float = RENEWAL,
    on_lost: Callable[[str], object] = _exit,
  ):
    self.path, self.message = as_path(path), message
    self._duration, self._renewal = duration, renewal
    self._on_lost = on_lost
    self._token, self._count = secrets.token_hex(8), 0
    self._version: str | None = None
    self._file: int | None = None
    self._stop = threading.Event()
    self._thread = threading.Thread(
      target=self._renew_until_released, name="lease", daemon=True
    )

  def __enter__(self) -> Self:
    self.acquire()
    return self

  def __exit__(self, *_: object) -> None:
    self.release()

  def acquire(self) -> None:
    """Takes the lease.

    In a bucket, this waits for a renewal by another writer or for the end of
    its lease.

    Raises:
      UsageError: another writer has it; the message is that of the lease.
    """
    if not is_remote(self.path):
      self._file = _lock(self.path)
      if self._file is None:
        raise UsageError(self.message)
      try:
        os.ftruncate(self._file, 0)
        os.write(self._file, json.dumps(_process()).encode())
      except OSError:
        self.release()
        raise
      return
    self._renewed = time.monotonic()
    self._version = self._replace(None)
    if self._version is None:
      expired = _expired_version(self.path, self._duration, self._renewal)
      self._renewed = time.monotonic()
      self._version = self._replace(expired)
    if self._version is None:
      raise UsageError(self.message)
    self._thread.start()

  def release(self) -> None:
    """Gives the lease back; later calls do nothing."""
    if self._file is not None:
      os.close(self._file)
      self._file = None
    if self._version is not None:
      self._stop.set()
      self._thread.join()
      # Otherwise it expires.
      with contextlib.suppress(BucketError):
        delete_if(self.path, self._version)
      self._version = None

  def _renew_until_released(self) -> None:
    while not self._stop.wait(self._renewal):
      start = time.monotonic()
      try:
        version = self._replace(self._version)
      except BucketError as error:
        if time.monotonic() - self._renewed < self._duration - self._renewal:
          continue
        self._on_lost(
          f"the lease {self.path} could not be renewed ({error}); the same "
          "command continues from the last checkpoint"
        )
        return
      if version is None:
        self._on_lost(self.message)
        return
      self._version, self._renewed = version, start

  def _replace(self, version: str | None) -> str | None:
    """Writes the object; see `replace_if`."""
    self._count += 1
    content = {**_process(), "token": self._token, "count": self._count}
    new = replace_if(self.path, json.dumps(content).encode(), version)
    if new is None:
      # The answer to a request that was repeated may have been lost.
      seen = version_of(self.path)
      if seen is not None and _read(self.path) == content:
        new = seen
    return new


def is_held(path: StrPath) -> bool:
  """Returns whether a living writer has a lease.

  In a bucket, this waits for a renewal or for the end of the lease.
  """
  if is_remote(path):
    seen = version_of(as_path(path))
    if seen is None:
      return False
    return _expired_version(as_path(path), DURATION, RENEWAL) is None
  return find_holder(path) is not None


def find_holder(path: StrPath) -> dict[str, Any] | None:
  """Returns the host and pid of the process that has a lease, without waiting.

  Returns:
    Those facts, {} if they are unknown, None if no process has the lease. In a
    bucket it may have been dead for less than `DURATION`.
  """
  file = as_path(path)
  if not file.exists():
    return None
  if is_remote(file):
    holder = _read(file)
    return None if _is_dead_here(holder) else holder
  handle = _lock(file, fcntl.LOCK_SH)
  if handle is None:
    return _read(file)
  os.close(handle)
  return None


def _lock(path: Path, kind: int = fcntl.LOCK_EX) -> int | None:
  """Locks a file on disk; returns its handle, or None if it is locked."""
  # Whoever may read the workdir may ask for its lock.
  reading = kind == fcntl.LOCK_SH
  flags = os.O_RDONLY if reading else os.O_RDWR | os.O_CREAT
  handle = os.open(path, flags, 0o644)
  try:
    fcntl.flock(handle, kind | fcntl.LOCK_NB)
  except BlockingIOError:
    os.close(handle)
    return None
  except OSError:
    os.close(handle)
    raise
  return handle


def _expired_version(path: Path, duration: float, renewal: float) -> str | None:
  """Observes a lease until it is renewed or expires.

  Returns:
    The version of a lease that has expired; None if it is renewed or released.
  """
  seen = version_of(path)
  if seen is None or _is_dead_here(_read(path)):
    return seen
  log.info("Another process has %s; waiting until it renews or expires", path)
  end = time.monotonic() + duration
  while time.monotonic() < end:
    time.sleep(min(renewal / 4, max(end - time.monotonic(), 0)))
    if version_of(path) != seen:
      return None
  return seen


def _read(path: Path) -> dict[str, Any]:
  try:
    content = parse_json(path.read_bytes())
  except (FileNotFoundError, ValueError):
    return {}
  return content if isinstance(content, dict) else {}


def _process(pid: int | None = None) -> dict[str, Any]:
  """Returns the host and number of a process, and what tells it from others."""
  pid = os.getpid() if pid is None else pid
  process: dict[str, Any] = {"host": platform.node(), "pid": pid}
  with contextlib.suppress(OSError):
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text("utf-8")
    process["system"] = f"{boot.strip()} {os.readlink('/proc/self/ns/pid')}"
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8")
    state, *fields = stat.rpartition(")")[2].split()
    if state not in "ZX":  # it has ended, and its parent has not waited for it
      process["started"] = fields[18]
  return process


def _is_dead_here(holder: dict[str, Any]) -> bool:
  """Returns whether a process ran on this system and has ended."""
  system, pid = holder.get("system"), holder.get("pid")
  if system is None or not isinstance(pid, int):
    return False
  current = _process(pid)
  return system == current.get("system") and holder.get(
    "started"
  ) != current.get("started")
