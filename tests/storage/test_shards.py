"""Shards that are missing, damaged, duplicated, or cannot be written."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from get_jax.data import check, create_source
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import Layout, ShardWriter
from tests.helpers import ROOT, environment

LAYOUT = Layout("get_jax pairs 2", 10, 4, {"x": ("float32", (3,))}, {"a": 1})
DATA = np.arange(30, dtype=np.float32).reshape(10, 3)


def fill(directory, layout=LAYOUT):
  writer = ShardWriter(directory, layout)
  missing = writer.missing()
  for shard in missing:
    writer.write(shard, {"x": DATA[list(layout.shard_range(shard))]})
  return missing


def read(directory):
  reader = ShardReader(directory, "get_jax pairs", "make it again")
  return reader.read(np.arange(10))["x"]


def truncate(folder):
  os.truncate(folder / "00001.x.npy", 150)


def cut_header(folder):
  os.truncate(folder / "00001.x.npy", 30)


def empty(folder):
  os.truncate(folder / "00001.x.npy", 0)


def lengthen(folder):
  with (folder / "00001.x.npy").open("ab") as file:
    file.write(b"0")


def flip_byte(folder):
  path = folder / "00001.x.npy"
  content = bytearray(path.read_bytes())
  content[-3] ^= 4
  path.write_bytes(content)


def remove(folder):
  (folder / "00001.x.npy").unlink()


def remove_record(folder):
  (folder / "00001.json").unlink()


def damage_record(folder):
  (folder / "00001.json").write_text('{"shard": 1, ')


def copy_over(folder):
  for part in ("json", "x.npy"):
    shutil.copy(folder / f"00000.{part}", folder / f"00001.{part}")


FAULTS = {
  truncate: r"00001\.x\.npy cannot be read",
  cut_header: r"00001\.x\.npy cannot be read",
  empty: r"00001\.x\.npy cannot be read",
  lengthen: r"00001\.x\.npy is longer than its \d+ bytes",
  remove: r"00001\.x\.npy cannot be read: .*No such file",
  remove_record: "lacks shard 1 of 3",
  damage_record: r"00001\.json is damaged",
  copy_over: r"00001\.json is a copy of shard 0; expected shard 1",
  flip_byte: r"00001\.x\.npy is damaged: its SHA-256",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_fault_is_reported_and_can_be_repaired(fault, tmp_path, capsys):
  assert fill(tmp_path) == [0, 1, 2]
  assert check.main([str(tmp_path)]) == 0
  fault(tmp_path)
  with pytest.raises(ValueError, match=FAULTS[fault] + ".*; make it again"):
    read(tmp_path)
  assert check.main([str(tmp_path)]) == 1
  assert "1 faults" in capsys.readouterr().out
  if fault is flip_byte:  # as the message of `check` instructs
    (tmp_path / "00001.json").unlink()
  assert fill(tmp_path) == [1]
  np.testing.assert_array_equal(read(tmp_path), DATA)


def test_a_duplicated_shard_is_reported(tmp_path):
  writer = ShardWriter(tmp_path, LAYOUT)
  for shard in range(3):
    rows = [0, 1, 2, 3] if shard < 2 else [8, 9]
    writer.write(shard, {"x": DATA[rows]})
  with pytest.raises(ValueError, match="shards 00000 and 00001 are the same"):
    read(tmp_path)


def test_an_extra_shard_is_reported(tmp_path):
  fill(tmp_path)
  shutil.copy(tmp_path / "00000.json", tmp_path / "00003.json")
  with pytest.raises(ValueError, match=r"00003\.json is one shard too many"):
    read(tmp_path)


def test_a_second_writer_is_refused(tmp_path):
  fill(tmp_path)
  writer = ShardWriter(tmp_path, LAYOUT)
  writer.lock()
  other = ShardWriter(tmp_path, LAYOUT)
  with pytest.raises(ValueError, match="another process is writing to"):
    other.write(0, {"x": DATA[:4]})
  np.testing.assert_array_equal(read(tmp_path), DATA)


def test_a_full_disk_keeps_complete_shards(tmp_path):
  folder = tmp_path / "small"
  folder.mkdir()
  mounted = subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)],
    capture_output=True,
  )
  if mounted.returncode:
    pytest.skip("no tmpfs may be mounted here")
  try:
    layout = Layout("get_jax pairs 2", 8, 4, {"x": ("float32", (1024,))}, {})
    writer = ShardWriter(folder, layout)
    rows = np.random.RandomState(0).rand(8, 1024).astype(np.float32)
    writer.write(0, {"x": rows[:4]})
    (folder / "other").write_bytes(bytes(24 << 10))
    with pytest.raises(ValueError, match="cannot be written .No space left"):
      writer.write(1, {"x": rows[4:]})
    assert writer.missing() == [1]
    assert not list(folder.glob("*.tmp"))
    (folder / "other").unlink()
    writer.write(1, {"x": rows[4:]})
    reader = ShardReader(folder, "get_jax pairs", "")
    np.testing.assert_array_equal(reader.read(np.arange(8))["x"], rows)
    del reader, writer
  finally:
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_failed_write_has_a_short_message(tmp_path, monkeypatch):
  fill(tmp_path)
  (tmp_path / "00001.json").unlink()

  def full(*_):
    raise OSError(28, "No space left on device")

  writer = ShardWriter(tmp_path, LAYOUT)
  with monkeypatch.context() as patch:
    patch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="No space left on device.*are kept"):
      writer.write(1, {"x": DATA[4:8]})
  assert writer.missing() == [1]
  assert not list(tmp_path.glob("*.tmp"))


def test_other_directories_are_refused(tmp_path, capsys):
  assert check.main([str(tmp_path)]) == 2
  assert "holds no shards; expected manifest.json" in capsys.readouterr().err
  fill(tmp_path)
  with pytest.raises(
    ValueError, match="'get_jax pairs 2'; expected 'get_jax l"
  ):
    create_source("latents", path=tmp_path)


KILLS = """
import os, pathlib, random, signal, sys, time
from get_jax.storage.shard_reader import find_faults
from tests.storage.test_shards import LAYOUT, fill

rng, folder, torn = random.Random(0), pathlib.Path(sys.argv[1]), 0
begin = time.monotonic()
fill(folder / "timed")
usual = time.monotonic() - begin
for attempt in range(40):
  directory = folder / str(attempt // 2)
  directory.mkdir(exist_ok=True)
  writer = os.fork()
  if not writer:
    fill(directory)
    os._exit(0)
  time.sleep(rng.uniform(0, usual))
  os.kill(writer, signal.SIGKILL)
  os.waitpid(writer, 0)
  for fault in find_faults(directory, LAYOUT):
    assert "lacks shard" in fault, fault
  torn += 0 < len(list(directory.glob("*"))) < 8
for number in range(20):
  fill(folder / str(number))
print(torn)
"""


def test_killed_writers_neither_lose_nor_duplicate_records(tmp_path):
  """Kills 40 writers, two per directory, before the directories are filled."""
  done = subprocess.run(
    [sys.executable, "-c", KILLS, str(tmp_path)],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  # Most writers were killed while they wrote.
  assert int(done.stdout) >= 10
  directories = list(tmp_path.iterdir())
  assert len(directories) == 21
  for directory in directories:
    np.testing.assert_array_equal(read(directory), DATA)
    assert len(list(directory.glob("0*.npy"))) == 3
