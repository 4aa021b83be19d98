"""Numbers the calls by which this process changes a folder, and disturbs them.

A small library in C (shim.c) is loaded before the C library, so that it sees
what Python, Orbax and TensorStore write. It is compiled when it is first used,
and needs a C compiler. `restart_preloaded` starts the running program again
with it.
"""

import contextlib
import ctypes
import dataclasses
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

SOURCE = pathlib.Path(__file__).with_name("shim.c")
FOREVER = 2**62
KILLED = -1  # instead of an error number


@dataclasses.dataclass
class Calls:
  """The number of calls, known at the end of a context."""

  count: int = 0


def compiler() -> str | None:
  """Returns the C compiler of this machine; None if there is none."""
  if not sys.platform.startswith("linux"):
    return None
  return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@functools.cache
def library() -> pathlib.Path:
  """Compiles the library, once for each version of its source."""
  version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
  folder = pathlib.Path(tempfile.gettempdir())
  path = folder / f"get_jax_faults_{os.getuid()}_{version}.so"
  if not path.exists():
    part = path.with_suffix(f".{os.getpid()}")
    command = [compiler(), "-O1", "-shared", "-fPIC", "-o", part, SOURCE]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    part.rename(path)
  return path


def preloaded(environment: dict[str, str]) -> dict[str, str]:
  """Returns the environment of a process that has the library."""
  return {**environment, "LD_PRELOAD": str(library())}


def restart_preloaded(environment: dict[str, str]) -> None:
  """Starts this program again, unless it has the library already."""
  if os.environ.get("LD_PRELOAD") != str(library()):
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, preloaded(environment))


@functools.cache
def _functions() -> ctypes.CDLL:
  loaded = ctypes.CDLL(str(library()))
  loaded.faults_start.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_long,
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_int,
  ]
  loaded.faults_stop.restype = ctypes.c_long
  return loaded


@contextlib.contextmanager
def record(folder: pathlib.Path, log: pathlib.Path) -> Iterator[Calls]:
  """Writes what is done to a folder inside the context to a log."""
  with _watch(folder, str(log), 0, 0, 0, False) as calls:
    yield calls


@contextlib.contextmanager
def fail(
  folder: pathlib.Path,
  first: int,
  error: int,
  last: int = FOREVER,
  reads: bool = False,
) -> Iterator[Calls]:
  """Lets calls fail that change, or read, files of a folder.

  Args:
    folder: the folder, as an absolute path.
    first: number of the first call that fails, from 1; 0: none.
    error: error number such as `errno.ENOSPC`; `KILLED` kills the process
      before the call.
    last: number of the last call that fails.
    reads: whether calls that read are meant.
  """
  with _watch(folder, "", first or FOREVER, last, error, reads) as calls:
    yield calls


@contextlib.contextmanager
def _watch(folder, log, first, last, error, reads) -> Iterator[Calls]:
  calls, functions = Calls(), _functions()
  functions.faults_start(
    os.fsencode(folder), log.encode(), first, last, error, int(reads)
  )
  try:
    yield calls
  finally:
    calls.count = functions.faults_stop()
