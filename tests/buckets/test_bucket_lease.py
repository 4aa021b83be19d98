"""One writer per directory, on disk and in a bucket."""

import json
import os
import subprocess
import sys
import threading

import pytest

from get_jax.errors import UsageError
from get_jax.storage import lease as lease_module
from get_jax.storage.conditional import replace_if, version_of
from get_jax.storage.lease import Lease, find_holder, is_held
from get_jax.storage.paths import as_path

MESSAGE = "another process writes here"


@pytest.fixture(params=["disk", "bucket"])
def path(request, tmp_path):
  if request.param == "disk":
    return as_path(tmp_path) / "lock"
  return as_path(request.getfixturevalue("bucket")) / "lock"


@pytest.fixture
def in_bucket(bucket):
  return as_path(bucket) / "lock"


def quick(path, **arguments):
  return Lease(path, MESSAGE, **{"duration": 1.0, "renewal": 0.05, **arguments})


def foreign(path):
  """Makes the lease that of a process on another machine."""
  content = {"host": "other", "pid": 1, "system": "other", "started": "1"}
  version = replace_if(path, json.dumps(content).encode(), version_of(path))
  assert version is not None
  return version


def test_the_second_writer_is_refused(path):
  with quick(path):
    with pytest.raises(UsageError, match=MESSAGE):
      quick(path).acquire()
    holder = find_holder(path)
    assert holder is not None and holder["pid"] == os.getpid()
    assert is_held(path)
  assert find_holder(path) is None and not is_held(path)
  with quick(path):
    pass


def test_a_lease_of_another_machine_expires(in_bucket):
  foreign(in_bucket)
  lost = []
  with quick(in_bucket, on_lost=lost.append):
    assert find_holder(in_bucket)["pid"] == os.getpid()
  assert not lost and not in_bucket.exists()


def test_a_lease_that_is_renewed_elsewhere(in_bucket, monkeypatch):
  foreign(in_bucket)

  def version_before_renewal(path):
    version = version_of(path)
    foreign(path)
    return version

  monkeypatch.setattr(lease_module, "version_of", version_before_renewal)
  with pytest.raises(UsageError, match=MESSAGE):
    quick(in_bucket, duration=1e6).acquire()


def test_the_lease_of_a_killed_process_is_free_at_once(path):
  code = (
    "import os, sys; from get_jax.storage.lease import Lease\n"
    "Lease(sys.argv[1], '').acquire(); os.kill(os.getpid(), 9)"
  )
  done = subprocess.run([sys.executable, "-c", code, os.fspath(path)])
  assert done.returncode == -9
  assert path.exists()
  # No waiting: the test would take as long.
  with Lease(path, MESSAGE, duration=1e6):
    assert find_holder(path)["pid"] == os.getpid()


def test_a_lease_that_was_taken_over_is_reported(in_bucket):
  lost, reported = [], threading.Event()

  def on_lost(sentence):
    lost.append(sentence)
    reported.set()

  lease = quick(in_bucket, on_lost=on_lost)
  lease.acquire()
  # A renewal may come between the two requests of the other process.
  for _ in range(100):
    version = version_of(in_bucket)
    if replace_if(in_bucket, b"{}", version) is not None:
      break
  assert reported.wait(60)
  assert lost == [MESSAGE]
  lease.release()
  assert in_bucket.read_bytes() == b"{}"  # it is not ours


def test_a_lease_that_cannot_be_renewed_is_reported(bucket_server, in_bucket):
  lost, reported = [], threading.Event()

  def on_lost(sentence):
    lost.append(sentence)
    reported.set()

  lease = quick(in_bucket, on_lost=on_lost)
  lease.acquire()
  with bucket_server.fault(403, pattern="POST .*lock"):
    assert reported.wait(60)
  assert "could not be renewed" in lost[0]
  assert "bucket gs://test-bucket is not accessible" in lost[0]
  lease.release()


def test_the_lost_answer_to_a_renewal_is_no_loss(bucket_server, in_bucket):
  lost = []
  with bucket_server.fault("lost", times=1, pattern="POST .*lock"):
    lease = quick(in_bucket, duration=30.0, on_lost=lost.append)
    lease.acquire()
  count = json.loads(in_bucket.read_text())["count"]
  with bucket_server.fault("lost", times=1, pattern="POST .*lock") as fault:
    while not fault.hits or json.loads(in_bucket.read_text())["count"] < 9:
      assert not lost
  assert count >= 1
  lease.release()
  assert not lost and not in_bucket.exists()
