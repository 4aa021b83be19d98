"""Makes the C library keep freed memory of the host for the next allocation.

XLA allocates the temporaries of a program anew in every call. By default glibc
gives large blocks back to the operating system when they are freed, and the
kernel clears each of their pages when it is touched again.
"""

import ctypes
import os

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

_state = {"kept": False}


def keep_freed_memory() -> bool:
  """Raises the sizes from which glibc returns memory, if it is the allocator.

  Threads share one arena per core, because each arena keeps memory of its own.
  Nothing is changed if the environment has settings of malloc (`MALLOC_*`,
  `GLIBC_TUNABLES`) or preloads another allocator.

  Returns:
    Whether the settings were made.
  """
  chosen = [
    name
    for name in os.environ
    if name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD")
  ]
  if chosen or not _is_glibc():
    return False
  settings = {
    M_MMAP_THRESHOLD: 2**30,
    M_TRIM_THRESHOLD: 2**31 - 1,
    M_TOP_PAD: 2**24,
    M_ARENA_MAX: max(2, os.cpu_count() or 1),
  }
  mallopt = ctypes.CDLL(None).mallopt
  _state["kept"] = all([mallopt(*setting) for setting in settings.items()])
  return _state["kept"]


def release_freed_memory() -> None:
  """Returns the memory that is free now, if freed memory is kept.

  A compiler leaves small pieces, in which a program's temporaries find no
  place. Without this call after it, the peak of the process grows by them.
  """
  if _state["kept"]:
    ctypes.CDLL(None).malloc_trim(0)


def keeps_freed_memory() -> bool:
  """Returns whether `keep_freed_memory` made its settings in this process."""
  return _state["kept"]


def _is_glibc() -> bool:
  try:
    return os.confstr("CS_GNU_LIBC_VERSION") is not None
  except (AttributeError, ValueError):
    return False
