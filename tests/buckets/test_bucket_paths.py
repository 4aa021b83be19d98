"""Files on disk and in a bucket: atomic, exclusive, by byte range."""

import importlib.util
import os
import zipfile

import pytest

from get_jax.errors import UsageError
from get_jax.storage.conditional import replace_if
from get_jax.storage.paths import (
  as_path,
  atomic_writer,
  is_remote,
  write_bytes,
  write_text,
)
from get_jax.storage.random_access import open_file

CONTENTS = [b"", b"\n", b"\r\n\r\n", b"\x00--==0==", os.urandom(100_000)]


@pytest.fixture(params=["disk", "bucket"])
def root(request, tmp_path):
  """A folder on disk or in a bucket."""
  if request.param == "disk":
    return as_path(tmp_path)
  return as_path(request.getfixturevalue("bucket"))


@pytest.mark.parametrize("content", CONTENTS)
def test_bytes_return_as_they_were(root, content):
  path = root / "folder" / "file"
  write_bytes(path, b"before")
  write_bytes(path, content)
  assert path.read_bytes() == content
  assert [p.name for p in path.parent.iterdir()] == ["file"]
  assert open_file(path).read(2, 5) == content[2:5]


def test_text_is_utf8(root):
  write_text(root / "text", "größer\n")
  assert (root / "text").read_bytes() == "größer\n".encode()


def test_a_file_whose_writer_fails_stays_as_it_was(root):
  path = root / "file"
  write_bytes(path, b"before")
  with pytest.raises(KeyError), atomic_writer(path) as file:
    file.write(os.urandom(8 * 2**20))  # more than one part of an upload
    raise KeyError("stop")
  assert path.read_bytes() == b"before"
  assert [p.name for p in root.iterdir()] == ["file"]
  with pytest.raises(KeyError), atomic_writer(root / "new") as file:
    file.write(b"little")
    raise KeyError("stop")
  assert not (root / "new").exists()


def test_a_zip_is_written_as_a_stream(root):
  content = os.urandom(12 * 2**20)
  with atomic_writer(root / "a.zip") as file:
    with zipfile.ZipFile(file, "w") as archive:
      archive.writestr("name", content)
  with (root / "a.zip").open("rb") as file, zipfile.ZipFile(file) as archive:
    assert archive.read("name") == content


def test_one_of_two_creates_an_object(bucket):
  path = as_path(bucket) / "lock"
  first = replace_if(path, b"first", None)
  assert replace_if(path, b"second", None) is None
  assert path.read_bytes() == b"first"
  assert replace_if(path, b"third", first)
  assert path.read_bytes() == b"third"


def test_files_of_other_processes_are_seen(bucket_server, bucket):
  folder = as_path(bucket)
  write_bytes(folder / "a", b"1")
  assert [p.name for p in folder.iterdir()] == ["a"]
  bucket_server.put(f"{folder.name}/b", b"2")
  assert sorted(p.name for p in folder.iterdir()) == ["a", "b"]
  assert (folder / "b").is_file()


def test_schemes(monkeypatch):
  assert is_remote("gs://bucket/a") and not is_remote("/a/b")
  assert os.fspath(as_path("gs://bucket/a") / "b") == "gs://bucket/a/b"
  assert os.fspath(as_path("~/a")) == os.path.expanduser("~/a")
  with pytest.raises(UsageError, match="hdfs://x .*expected .* gs://BUCKET"):
    as_path("hdfs://x")
  with pytest.raises(UsageError, match="gs:// names no bucket"):
    as_path("gs://")


def test_a_scheme_whose_package_is_missing(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UsageError, match="needs .* s3fs; .* pip install s3fs"):
    as_path("s3://bucket/a")
