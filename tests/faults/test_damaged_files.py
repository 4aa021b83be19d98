"""Damaged files: nothing is executed, and a reader ends with one sentence."""

import io
import json
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from get_jax.data import create_source
from get_jax.data.decoding import DEFAULT
from get_jax.data.image_reader import decode_named
from get_jax.data.labels import MAX_CLASSES, number_classes
from get_jax.data.tfrecord import read_tfrecord
from get_jax.errors import UsageError
from get_jax.storage.files import Files
from get_jax.storage.json_files import parse_json
from get_jax.storage.npz import read_npz
from get_jax.training.metrics import read_metrics
from tests import data_sets
from tests.faults import mutate
from tests.faults.reader import Reader
from tests.faults.readers import READERS

SECONDS = 0.4  # of trials for a reader; a run of 10,000 is mutate.py's
MIN_TRIALS = 10


@pytest.mark.parametrize("name", READERS)
def test_readers_of_damaged_files(name, tmp_path):
  if READERS[name].needs:
    pytest.importorskip(READERS[name].needs)
  trials = mutate.Trials(name, 0, tmp_path / "files")
  start, count = time.process_time(), 0
  while count < MIN_TRIALS or (
    time.process_time() - start < SECONDS and count < 300
  ):
    finding = trials.run(count)
    assert finding is None, finding
    count += 1


def test_a_trial_is_replayed(tmp_path):
  first, second = (
    mutate.Trials("shards", 5, tmp_path / name) for name in ("a", "b")
  )
  for trial in range(20):
    assert first.damaged(trial)[1] == second.damaged(trial)[1]
  contents = {first.damaged(trial)[1] for trial in range(20)}
  assert len(contents) > 15


class Breaking:
  """A reader of one file that breaks a promise."""

  def __init__(self, action):
    self.action, self.calls = action, 0

  def __call__(self, folder):
    self.calls += 1
    if self.calls > 1:  # the good file
      self.action()


def allocate():
  try:
    bytearray(2 * mutate.MEMORY)
  except MemoryError as error:
    raise UsageError("damaged") from error


def hang():
  while True:
    pass


def refuse():
  raise UsageError("two\nlines")


BROKEN = {
  "crash": lambda: {}["a"],
  "memory": allocate,
  "hang": hang,
  "sentence": refuse,
  "executed": lambda: __import__("os").system("true"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_promises_are_found(kind, tmp_path, monkeypatch):
  monkeypatch.setattr(mutate, "SECONDS", 0.2)
  reader = Reader(READERS["metrics"].write, Breaking(BROKEN[kind]))
  monkeypatch.setitem(READERS, "broken", reader)
  trials = mutate.Trials("broken", 0, tmp_path / "files")
  finding = trials.run(0)
  assert finding is not None and finding.kind == kind


def zip_of(path, name, data):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name, data)


def test_zip_bombs_are_not_decompressed(tmp_path):
  length = 2**27 + 12_345
  zip_of(tmp_path / "f.zip", "a.png", bytes(length))
  with pytest.raises(UsageError, match="would be decompressed to 134,230,073"):
    Files(tmp_path / "f.zip").read("a.png")
  # The size in the directory is not believed either.
  content = (tmp_path / "f.zip").read_bytes()
  size = length.to_bytes(4, "little")
  assert content.count(size) == 2
  (tmp_path / "f.zip").write_bytes(content.replace(size, b"\0\0\1\0"))
  with pytest.raises(UsageError, match="has not the size of 65536 bytes"):
    Files(tmp_path / "f.zip").read("a.png")


def npz_of(header):
  text = str(header).encode().ljust(117) + b"\n"
  array = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text
  file = io.BytesIO()
  zip_of(file, "a.npy", array + bytes(8))
  return file


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({}, None),
    ({"shape": (2**60,)}, "has 8 bytes; expected"),
    ({"shape": (2**62, 4)}, "has 8 bytes; expected"),
    ({"shape": (-1,)}, "no plain array"),
    ({"descr": "|O"}, "no plain array"),
    ({"shape": "("}, "."),
  ],
)
def test_headers_of_arrays(change, message):
  header = {"descr": "<f8", "fortran_order": False, "shape": (1,)} | change
  if message is None:
    np.testing.assert_array_equal(read_npz(npz_of(header))["a"], [0.0])
    return
  with pytest.raises(ValueError, match=message):
    read_npz(npz_of(header))


def test_unfinished_headers_of_arrays():
  with pytest.raises(ValueError, match="multi-line statement"):
    read_npz(npz_of("{'descr': '<f8', 'fortran_order': False, 'shape': (1,"))


def test_npz_bombs_are_not_decompressed():
  file = io.BytesIO()
  np.savez_compressed(file, a=np.zeros(2**27, np.uint8))
  with pytest.raises(ValueError, match="would be decompressed"):
    read_npz(file)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, b"\xff", "{"])
def test_json(text):
  with pytest.raises(ValueError, match="."):
    parse_json(text)


def test_large_class_numbers():
  assert len(number_classes([0, 5], "here").names) == 6
  for label in (MAX_CLASSES, 2**31 - 1, 10**5000, True, None, [[1]]):
    with pytest.raises(UsageError, match="here has the label"):
      number_classes([0, label], "here")


def test_damaged_metric_lines_are_left_out(tmp_path):
  lines = [
    '{"step": 1, "loss": 0.5}', '{"step": 2, "lo', "[3]", "null", '"4"',
    '{"loss": 1}', '{"step": "5"}', '{"step": 6, "loss": [1]}', "[" * 10**5,
    '{"step": 7, "loss": NaN}',
  ]  # fmt: skip
  content = "\n".join(lines).encode() + b"\n\xff\xfe\n"
  (tmp_path / "metrics.jsonl").write_bytes(content)
  records = read_metrics(tmp_path)
  assert [record["step"] for record in records] == [1, 7]
  assert json.dumps(records[1]) == '{"step": 7, "loss": NaN}'


def test_images_that_declare_too_many_pixels():
  header = b"IHDR" + struct.pack(">IIBBBBB", 11_000, 11_000, 8, 6, 0, 0, 0)
  data = b"IDAT" + zlib.compress(bytes(1000))
  content = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(chunk) - 4)
    + chunk
    + struct.pack(">I", zlib.crc32(chunk))
    for chunk in (header, data, b"IEND")
  )
  with (
    pytest.warns(Image.DecompressionBombWarning),
    pytest.raises(UsageError, match="would be decompressed to 484,000,000"),
  ):
    decode_named(content, "a.png", DEFAULT)


def test_names_of_several_lines(tmp_path):
  data_sets.tar(tmp_path / "f.tar", {"a\nb.png": b"", "a\nb.txt": b""})
  with pytest.raises(UsageError, match=r"no label of a\\nb.png; expected"):
    create_source("webdataset", path=tmp_path / "f.tar", image_size=8)


def test_records_that_declare_too_many_bytes(tmp_path):
  path = tmp_path / "f.tfrecord"
  path.write_bytes(struct.pack("<Q4x", 2**60) + b"short")
  with pytest.raises(UsageError, match="ends within a record"):
    list(read_tfrecord(path))
