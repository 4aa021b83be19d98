"""Faults of a bucket are repeated where that helps, else one sentence."""

import asyncio
import os
import types

import gcsfs.retry
import pytest

from get_jax.storage.bucket_errors import BucketError
from get_jax.storage.conditional import replace_if
from get_jax.storage.objects import find_object
from get_jax.storage.paths import as_path, atomic_writer, write_bytes


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
  """Requests are repeated at once; returns the pauses."""
  pauses = []

  async def sleep(seconds):
    pauses.append(seconds)
    await asyncio.sleep(0)

  quick = types.SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
  monkeypatch.setattr(gcsfs.retry, "asyncio", quick)
  return pauses


@pytest.fixture
def path(bucket):
  path = as_path(bucket) / "file"
  write_bytes(path, b"0123456789")
  return path


@pytest.mark.parametrize("kind", [429, 503, "drop", "cut", "lost"])
def test_passing_faults_are_repeated(bucket_server, path, kind, no_waiting):
  remote = find_object(os.fspath(path))
  # A listing that `find_object` no longer waits for may still arrive.
  with bucket_server.fault(kind, times=2, pattern="alt=media") as fault:
    assert remote.read(2, 6) == b"2345"
  assert fault.hits == 2
  # A pause is a power of two and up to a second more.
  assert no_waiting
  assert all(2**i <= p < 2**i + 1 for i, p in enumerate(no_waiting))
  with bucket_server.fault(kind, times=2) as fault:
    write_bytes(path, b"new")
  assert fault.hits == 2
  assert path.read_bytes() == b"new"
  with bucket_server.fault(kind, times=2) as fault:
    with atomic_writer(path) as file:
      file.write(b"streamed")
  assert fault.hits == 2
  assert path.read_bytes() == b"streamed"


@pytest.mark.parametrize(
  "kind, sentence",
  [
    (429, "bucket gs://test-bucket cannot be reached .*429.* the same command"),
    (503, "bucket gs://test-bucket cannot be reached .*503"),
    ("drop", "bucket gs://test-bucket cannot be reached .*Disconnected"),
    (401, "bucket gs://test-bucket refuses the credentials.*expected valid"),
    (403, "bucket gs://test-bucket is not accessible .*Storage Object User"),
  ],
)
def test_lasting_faults_are_one_sentence(bucket_server, path, kind, sentence):
  remote = find_object(os.fspath(path))
  operations = {
    "write": lambda: write_bytes(path, b"new"),
    "read": lambda: remote.read(0, 4),
    "create": lambda: replace_if(path.parent / "other", b"", None),
    "exists": path.exists,
    "is_dir": path.is_dir,
    "read_bytes": path.read_bytes,
    "unlink": path.unlink,
    "iterdir": lambda: list(path.parent.iterdir()),
    "glob": lambda: list(path.parent.glob("*")),
  }
  for name, operation in operations.items():
    with bucket_server.fault(kind):
      with pytest.raises(BucketError, match=sentence):
        operation()
        pytest.fail(f"{name} raises nothing")
  assert path.read_bytes() == b"0123456789"
  assert not (path.parent / "other").exists()


def test_a_bucket_that_does_not_exist(bucket_server):
  path = as_path("gs://no-such-bucket/folder/file")
  operations = [
    lambda: write_bytes(path, b"new"),
    path.parent.exists,
    path.is_dir,
    lambda: path.parent.mkdir(exist_ok=True),
    lambda: list(path.parent.iterdir()),
  ]
  for operation in operations:
    with pytest.raises(BucketError, match="gs://no-such-bucket does not exist"):
      operation()


def test_an_upload_that_is_damaged_on_its_way_is_noticed(
  bucket_server, path, monkeypatch
):
  storage = bucket_server.storage
  create = storage.create_file

  def damage(bucket, name, content, info, *args):
    info["md5Hash"] = "AAAAAA=="
    return create(bucket, name, content, info, *args)

  monkeypatch.setattr(storage, "create_file", damage)
  with pytest.raises(BucketError, match="file was damaged on its way"):
    write_bytes(path, b"new")
