"""Files of `flax.serialization`: what is read, and what is rejected."""

import zipfile

import flax.serialization
import jax.numpy as jnp
import ml_dtypes
import msgpack
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.interop.formats import flax_msgpack
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.state_dict import extract_state_dict


def write(tmp_path, data, name="checkpoint_7"):
  path = tmp_path / name
  path.write_bytes(data)
  return path


def array(shape, name, data):
  return msgpack.ExtType(1, msgpack.packb((shape, name, data)))


def test_every_kind_of_value(tmp_path, monkeypatch):
  monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 100)
  rng = np.random.default_rng(0)
  saved = {
    "large": rng.standard_normal((5, 41), np.float32),  # in chunks
    "half": np.arange(6, dtype=ml_dtypes.bfloat16).reshape(2, 3),
    "empty": np.zeros((0, 3), np.int32),
    "scalar": np.float64(0.5),
    "zero_rank": np.array(7, np.int32),
    "of_jax": jnp.arange(3),
    "inner": {"list": [1, -2, 300, 2**40, -(2**40), 0.25, None, True]},
    "complex": 1.5 - 2j,
    "text": "x" * 300,
    "bytes": b"y" * 70_000,
    "many": {f"key_{i}": i for i in range(20)},
    "long": list(range(70_000)),
  }
  path = write(tmp_path, flax.serialization.msgpack_serialize(dict(saved)))
  read = read_checkpoint(path)
  assert read.keys() == saved.keys()
  for name, value in saved.items():
    if isinstance(value, np.ndarray):
      assert read[name].dtype == value.dtype
      if name not in ("large", "empty"):  # a view of the file
        assert not read[name].flags.writeable
      np.testing.assert_array_equal(read[name], value)
    elif name not in ("of_jax", "bytes"):
      assert read[name] == value, name
  np.testing.assert_array_equal(read["of_jax"], np.arange(3))
  assert bytes(read["bytes"]) == saved["bytes"]


def test_the_average_is_preferred(tmp_path):
  def tree(value):
    return {"net": {"layer": {"kernel": np.full((2, 3), value, np.float32)}}}

  state = {
    "step": 3,
    "params": tree(1.0),
    "opt_state": {"0": {"mu": tree(9.0)}},
  }
  for extra, expected in (({"ema_params": tree(2.0)}, 2.0), ({}, 1.0)):
    data = flax.serialization.msgpack_serialize({**state, **extra})
    tensors = extract_state_dict(read_checkpoint(write(tmp_path, data)))
    assert list(tensors) == ["net/layer/kernel"]
    assert (tensors["net/layer/kernel"] == expected).all()
  data = flax.serialization.msgpack_serialize(tree(4.0))
  tensors = extract_state_dict(read_checkpoint(write(tmp_path, data)))
  assert (tensors["net/layer/kernel"] == 4.0).all()


GOOD = msgpack.packb({"a": array((2,), "float32", bytes(8))})
NESTED = b"\x91" * 100 + b"\x90"
REJECTED = {
  "cut": (GOOD[:-1], "beyond its end"),
  "more": (GOOD + b"\x00", "ends at byte"),
  "huge text": (b"\x81\xdb\xff\xff\xff\xff", "4294967295 bytes"),
  "huge list": (b"\x81\xa1a\xdd\xff\xff\xff\xff", "beyond its end"),
  "huge shape": (
    msgpack.packb({"a": array((2**40, 2**40), "float32", b"")}),
    "with 0 bytes",
  ),
  "negative shape": (
    msgpack.packb({"a": array((-1,), "float32", b"")}),
    "not a list of sizes",
  ),
  "objects": (
    msgpack.packb({"a": array((1,), "object", bytes(8))}),
    "unknown number type 'object'",
  ),
  "structured": (
    msgpack.packb({"a": array((1,), "f4,f4", bytes(8))}),
    "unknown number type",
  ),
  "no array": (
    msgpack.packb({"a": msgpack.ExtType(1, b"\x01")}),
    "without shape, type and data",
  ),
  "extension": (
    msgpack.packb({"a": msgpack.ExtType(9, b"\x01")}),
    "unknown code 9",
  ),
  "key": (b"\x81\x90\x01", "key that is neither a string nor a number"),
  "type": (b"\x81\xa1a\xc1", "unknown type 193"),
  "deep": (b"\x81\xa1a" + NESTED, "nested 64 deep"),
  "deep extensions": (
    b"\x81\xa1a"
    + b"".join(
      b"\xc9" + (6 * n).to_bytes(4, "big") + b"\x01" for n in range(99, 0, -1)
    )
    + b"\xc9\x00\x00\x00\x00\x01",
    "nested 64 deep",
  ),
  "chunks": (
    msgpack.packb({"__msgpack_chunked_array__": True, "shape": {}}),
    "without shape and chunks",
  ),
  "chunks of numbers": (
    msgpack.packb(
      {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 1},
        "chunks": {"0": 1},
      }
    ),
    "not arrays of one type",
  ),
  "text that is not UTF-8": (b"\x81\xa1\xff\x00", "damaged or truncated"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_bad_files(tmp_path, case):
  data, message = REJECTED[case]
  path = write(tmp_path, data)
  with pytest.raises(UsageError, match=message):
    read_checkpoint(path)


def test_very_many_items(tmp_path, monkeypatch):
  monkeypatch.setattr(flax_msgpack, "MAX_ITEMS", 100)
  path = write(tmp_path, msgpack.packb({"a": [0] * 200}))
  with pytest.raises(UsageError, match="more than 100 items"):
    read_checkpoint(path)


def test_every_cut_and_every_changed_byte_end_in_a_sentence(tmp_path):
  state = {"params": {"net": {"kernel": np.ones((2, 2), np.float32)}}, "s": 1}
  data = flax.serialization.msgpack_serialize(state)
  rng = np.random.default_rng(0)
  for i in range(len(data)):
    changed = bytearray(data)
    changed[i] = rng.integers(256)
    for bad in (data[:i], bytes(changed)):
      try:
        flax_msgpack.read_flax_msgpack(memoryview(bad))
      except (ValueError, LookupError, TypeError):
        pass


def test_an_archive_is_to_be_unzipped(tmp_path):
  path = tmp_path / "iMF.zip"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("iMF/checkpoint_12", GOOD)
  with pytest.raises(UsageError, match="'iMF/checkpoint_12'; unzip it"):
    read_checkpoint(path)
