"""Freed memory of the host that is kept for the next allocation."""

import os
import subprocess
import sys

import pytest

from get_jax.hardware import host_memory

PROGRAM = """
import resource, sys
import numpy as np
from get_jax.hardware.host_memory import keep_freed_memory

if sys.argv[1] == "keep":
  assert keep_freed_memory()
np.ones(2**23)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
  np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
  for name in list(os.environ):
    if name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD"):
      monkeypatch.delenv(name)


def page_faults(argument):
  command = [sys.executable, "-c", PROGRAM, argument]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  return int(done.stdout)


@pytest.mark.skipif(not host_memory._is_glibc(), reason="it needs glibc")
def test_freed_memory_is_not_faulted_in_again():
  assert page_faults("keep") < page_faults("return") / 10


RELEASE = """
import os
from get_jax.hardware.host_memory import keep_freed_memory, release_freed_memory

def resident():
  with open("/proc/self/statm") as file:
    return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

assert keep_freed_memory()
pieces = [bytes(2**12) for _ in range(2**14)]  # 64 MiB
last = bytes(2**12)
full = resident()
del pieces
kept = resident()
release_freed_memory()
print(full, kept, resident())
"""


@pytest.mark.skipif(not host_memory._is_glibc(), reason="it needs glibc")
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc")
def test_free_pieces_are_released():
  command = [sys.executable, "-c", RELEASE]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  full, kept, released = map(int, done.stdout.split())
  assert full - kept < 2**24
  assert kept - released > 2**25


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "LD_PRELOAD"])
def test_settings_of_the_environment_are_left(name, monkeypatch):
  monkeypatch.setenv(name, "x")
  assert not host_memory.keep_freed_memory()


def test_other_c_libraries_are_left(monkeypatch):
  def confstr(name):
    raise ValueError("unrecognized configuration name")

  monkeypatch.setattr(os, "confstr", confstr)
  assert not host_memory.keep_freed_memory()
