"""The cache of objects: bounded, checksummed, shared, deleted at any time."""

import dataclasses
import multiprocessing
import os
import pathlib
import pickle
import shutil
import threading

import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.storage import cache as cache_module
from get_jax.storage.cache import Cache, cache_directory, configure, get_cache
from get_jax.storage.objects import RemoteObject

BLOCK = 100
CONTENT = np.random.RandomState(0).bytes(1234)


@dataclasses.dataclass(frozen=True)
class StoredObject(RemoteObject):
  """An object whose bytes are in a file; each download adds a line to a log."""

  folder: str = ""

  def read(self, start, stop):
    with open(f"{self.folder}/log", "a") as log:
      log.write(f"{start}\n")
    return pathlib.Path(self.folder, "object").read_bytes()[start:stop]


class Store:
  """A bucket with one object."""

  def __init__(self, folder):
    self.folder = folder
    folder.mkdir(parents=True)
    (folder / "log").touch()
    self.object = self.put(CONTENT, "1")

  def put(self, content, version):
    (self.folder / "object").write_bytes(content)
    return StoredObject("gs://b/x", len(content), version, str(self.folder))

  def downloads(self):
    """Returns the first bytes of the downloads since the last call."""
    starts = (self.folder / "log").read_text().split()
    (self.folder / "log").write_text("")
    return sorted(map(int, starts))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
  monkeypatch.setattr(cache_module, "BLOCK", BLOCK)


@pytest.fixture
def store(tmp_path):
  return Store(tmp_path / "bucket")


@pytest.fixture
def cache(tmp_path):
  return Cache(tmp_path / "cache", 10**6)


def files(cache):
  paths = sorted(cache.directory.rglob("*"))
  return [path for path in paths if path.is_file()]


@pytest.mark.parametrize(
  "start, stop",
  [(0, 1), (99, 100), (99, 101), (0, 1234), (1200, 5000), (7, 7), (2000, 9)],
)
def test_ranges(cache, store, start, stop):
  for _ in range(2):
    assert cache.read(store.object, start, stop) == CONTENT[start:stop]


def test_a_block_is_downloaded_once(cache, store):
  cache.read(store.object, 150, 320)
  assert store.downloads() == [100, 200, 300]
  cache.read(store.object, 100, 399)
  again = Cache(cache.directory, 10**6)
  assert again.read(store.object, 50, 150) == CONTENT[50:150]
  assert store.downloads() == [0]


def test_prefetched_blocks_are_not_downloaded_again(cache, store):
  cache.prefetch([(store.object, 0, 150), (store.object, 1100, 9999)])
  assert cache.read(store.object, 0, 200) == CONTENT[:200]
  assert cache.read(store.object, 1100, 1234) == CONTENT[1100:]
  assert store.downloads() == [0, 100, 1100, 1200]


def test_threads_share_downloads(cache, store):
  threads = [
    threading.Thread(target=cache.read, args=(store.object, 0, 1234))
    for _ in range(8)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert store.downloads() == list(range(0, 1234, BLOCK))


def _read_all(cache, remote, queue, block):
  cache_module.BLOCK = block
  order = np.random.RandomState(os.getpid()).permutation(13)
  parts = {i: cache.read(remote, i * block, (i + 1) * block) for i in order}
  copy = cache.local_copy(remote).read_bytes()
  queue.put(b"".join(parts[i] for i in range(13)) == copy == CONTENT)


def test_processes_share_downloads(cache, store):
  context = multiprocessing.get_context("spawn")
  queue = context.Queue()
  processes = [
    context.Process(target=_read_all, args=(cache, store.object, queue, BLOCK))
    for _ in range(2)
  ]
  for process in processes:
    process.start()
  assert [queue.get(timeout=120) for _ in processes] == [True, True]
  for process in processes:
    process.join()
  # The blocks, and the same ranges for the copy of the whole object.
  assert store.downloads() == sorted(2 * list(range(0, 1234, BLOCK)))


def test_a_replaced_object_is_downloaded_anew(cache, store):
  cache.read(store.object, 0, 100)
  copy = cache.local_copy(store.object)
  other = store.put(CONTENT[::-1], "2")
  assert cache.read(other, 0, 100) == CONTENT[::-1][:100]
  assert cache.local_copy(other).read_bytes() == CONTENT[::-1]
  assert copy.read_bytes() == CONTENT


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer", "swap"])
def test_damaged_files_are_downloaded_again(tmp_path, store, damage, caplog):
  cache = Cache(tmp_path / "cache", 10**6)
  cache.read(store.object, 0, 200)
  copy = cache.local_copy(store.object)
  first, second = [p for p in files(cache) if p.name[-2:] in ("-0", "-1")]
  for path in (first, copy):
    content = bytearray(path.read_bytes())
    if damage == "flip":
      content[50] ^= 1
    elif damage == "longer":
      content += b"x"
    elif damage == "swap":
      content = second.read_bytes()
    else:
      content = content[: len(content) // 2 if damage == "cut" else 0]
    path.write_bytes(content)
  store.downloads()
  # A process that has read them before, and another one.
  for reader in (cache, Cache(tmp_path / "cache", 10**6)):
    assert reader.read(store.object, 20, 30) == CONTENT[20:30]
  fresh = Cache(tmp_path / "cache", 10**6)
  assert fresh.local_copy(store.object).read_bytes() == CONTENT
  assert store.downloads() == sorted([0, *range(0, 1234, BLOCK)])
  assert "is damaged; it is downloaded again" in caplog.text


def test_the_directory_is_deleted_while_it_is_used(cache, store):
  cache.read(store.object, 0, 1234)
  opened = cache.local_copy(store.object).open("rb")
  shutil.rmtree(cache.directory)
  assert opened.read() == CONTENT
  assert cache.read(store.object, 5, 500) == CONTENT[5:500]
  shutil.rmtree(cache.directory)
  assert cache.local_copy(store.object).read_bytes() == CONTENT
  opened.close()


def test_the_size_is_bounded(tmp_path, store, caplog):
  cache = Cache(tmp_path / "cache", 6 * BLOCK)
  for _ in range(2):
    for start in range(0, 1234, BLOCK):
      expected = CONTENT[start : start + 10]
      assert cache.read(store.object, start, start + 10) == expected
      assert sum(p.stat().st_size for p in files(cache)) <= 6 * BLOCK
  assert len(store.downloads()) > 13
  assert "expected --cache_size to be larger than the data" in caplog.text
  assert caplog.text.count("cache_size") == 1


def test_the_least_recently_used_is_removed(tmp_path, store):
  cache = Cache(tmp_path / "cache", 6 * BLOCK)
  for start in (0, 100, 200):
    cache.read(store.object, start, start + 10)
  for age, path in enumerate(files(cache)):
    os.utime(path, (1000 + age, path.stat().st_mtime))
  oldest = int(files(cache)[0].name.rpartition("-")[2]) * BLOCK
  cache.read(store.object, oldest, oldest + 10)  # marks its use
  store.downloads()
  cache.read(store.object, 400, 600)  # two more do not fit
  cache.read(store.object, oldest, oldest + 10)
  assert store.downloads() == [400, 500]


def test_an_object_larger_than_the_cache(tmp_path, store):
  cache = Cache(tmp_path / "cache", BLOCK)
  assert cache.local_copy(store.object).read_bytes() == CONTENT
  assert cache.read(store.object, 0, 1234) == CONTENT


def test_a_disk_that_cannot_be_written_is_no_error(cache, store, monkeypatch):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr("get_jax.storage.disk_store.os.replace", full)
  assert cache.read(store.object, 0, 1234) == CONTENT
  assert not files(cache)


def test_folders(cache, store):
  folder = cache.local_folder({"a": store.object, "b/c": store.object})
  assert (folder / "a").read_bytes() == CONTENT
  assert (folder / "b" / "c").read_bytes() == CONTENT
  store.downloads()
  assert cache.local_folder({"b/c": store.object, "a": store.object}) == folder
  (folder / "b" / "c").unlink()
  fresh = Cache(cache.directory, 10**6)
  assert fresh.local_folder({"a": store.object, "b/c": store.object}) == folder
  assert (folder / "b" / "c").read_bytes() == CONTENT


def test_an_interrupted_copy_leaves_nothing(cache, store, monkeypatch):
  def fail(self, start, stop):
    raise UsageError("gone")

  with monkeypatch.context() as patch:
    patch.setattr(StoredObject, "read", fail)
    with pytest.raises(UsageError, match="gone"):
      cache.local_copy(store.object)
    with pytest.raises(UsageError, match="gone"):
      cache.read(store.object, 0, 1)
  assert not files(cache)
  assert cache.local_copy(store.object).read_bytes() == CONTENT


def test_pickled_caches_share_the_directory(cache, store):
  cache.read(store.object, 0, 100)
  store.downloads()
  copy = pickle.loads(pickle.dumps(cache))
  assert copy.read(store.object, 0, 100) == CONTENT[:100]
  assert store.downloads() == []


def test_directories(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  configure()
  assert cache_directory() == tmp_path / "get_jax"
  monkeypatch.delenv("XDG_CACHE_HOME")
  assert cache_directory() == pathlib.Path("~/.cache/get_jax").expanduser()
  configure(tmp_path / "here", 0.5)
  assert get_cache().directory == cache_directory() == tmp_path / "here"
  assert get_cache().store.max_bytes == 2**29
  (tmp_path / "file").write_text("")
  configure(tmp_path / "file")
  with pytest.raises(UsageError, match=r"--cache_dir=.*file/objects cannot be"):
    get_cache()
  configure()
