"""Leases on disk; those in buckets are in tests/buckets."""

import errno
import os

import pytest

from get_jax.errors import UsageError
from get_jax.storage.lease import Lease


def test_a_second_writer_is_refused_until_the_first_releases(tmp_path):
  first = Lease(tmp_path / "lock", "one writer at a time")
  second = Lease(tmp_path / "lock", "one writer at a time")
  with first, pytest.raises(UsageError, match="one writer at a time"):
    second.acquire()
  with second:
    pass


def test_a_lease_that_cannot_be_written_is_not_held(tmp_path, monkeypatch):
  def write(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  failing = Lease(tmp_path / "lock", "one writer at a time")
  with monkeypatch.context() as patched:
    patched.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
      failing.acquire()
  with Lease(tmp_path / "lock", "one writer at a time"):
    pass
