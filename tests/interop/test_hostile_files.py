"""Files that run code, exhaust memory or mislead the reader are rejected.

Each test first runs its exploit with `pickle`, to show that it works.
"""

import copyreg
import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.interop import read_checkpoint
from get_jax.interop.formats.safe_pickle import RejectedFileError, read_pickle
from tests import torch_writer as tw

ONES = np.ones(4, np.float32)


@pytest.fixture
def marker(tmp_path):
  return tmp_path / "executed"


def assert_rejected(path, message):
  """Checks that a file is rejected, with a one-line message and below 50 MB."""
  tracemalloc.start()
  try:
    with pytest.raises(UsageError, match=message) as error:
      read_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
  finally:
    tracemalloc.stop()
  text = str(error.value)
  assert "\n" not in text and len(text) < 600 and str(path) in text


class Exploit:
  """An object whose pickle calls any function."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


def touch(marker):
  return Exploit(os.system, f"touch {marker}")


def zip_of(path, pickle_bytes):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", pickle_bytes)


def legacy_of(path, pickle_bytes):
  parts = [tw.pickled(p)[0] for p in (0x1950A86A20F9469CFC6C, 1001)]
  parts.append(tw.pickled({"little_endian": True})[0])
  path.write_bytes(b"".join([*parts, pickle_bytes, tw.pickled([])[0]]))


def snapshot_of(path, pickle_bytes):
  path.write_bytes(pickle_bytes)


FORMATS = {"zip": zip_of, "legacy": legacy_of, "edm": snapshot_of}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
def test_calls_are_not_made(tmp_path, marker, save, protocol):
  payload = pickle.dumps({"ema": touch(marker)}, protocol)
  pickle.loads(payload)
  assert marker.exists()
  marker.unlink()
  save(tmp_path / "f", payload)
  # Protocol 0 has no signature, so its pickles are not detected as checkpoints.
  assert_rejected(tmp_path / "f", r"system'|neither a file|opcode")
  assert not marker.exists()


def opcodes(marker):
  """Returns raw pickles that call a function by opcodes other than REDUCE."""
  command = f"touch {marker}".encode()
  text = b"X" + struct.pack("<I", len(command)) + command
  return {
    "INST": b"\x80\x02(" + text + b"ios\nsystem\n.",
    "OBJ": b"\x80\x02(cos\nsystem\n" + text + b"o.",
    "EXT1": b"\x80\x02\x82\x7e" + text + b"\x85R.",
  }


@pytest.fixture
def extension():
  """Registers os.system as code 0x7e of the extension registry."""
  copyreg.add_extension("os", "system", 0x7E)
  yield
  copyreg.remove_extension("os", "system", 0x7E)


@pytest.mark.parametrize("opcode", ["INST", "OBJ", "EXT1"])
@pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
@pytest.mark.usefixtures("extension")
def test_other_ways_to_call(tmp_path, marker, save, opcode):
  payload = opcodes(marker)[opcode]
  pickle.loads(payload)
  assert marker.exists()
  marker.unlink()
  save(tmp_path / "f", payload)
  assert_rejected(tmp_path / "f", f"opcode {opcode}|'os.system'")
  assert not marker.exists()


def test_nested_pickle_of_a_storage(tmp_path, marker):
  raw = pickle.dumps(touch(marker), 2)
  pickle.loads(raw)
  assert marker.exists()
  marker.unlink()
  for stream in (raw, tw.legacy_bytes(touch(marker))):
    storage = tw.Call(tw.LOAD_FROM_BYTES, (stream,))
    network = tw.edm_module("Linear")
    network.arguments[0]["state"]["_parameters"] = {
      "w": tw.tensor(ONES, storage=storage)
    }
    data = tw.pickled({"ema": network}, protocol=4)[0]
    (tmp_path / "f").write_bytes(data)
    assert_rejected(
      tmp_path / "f", "system'|not begin as legacy files of PyTorch"
    )
    assert not marker.exists()


NAMES = [
  ("builtins", "eval"),
  ("builtins", "getattr"),
  ("posix", "system"),
  ("copyreg", "_reconstructor"),
  ("torch._utils", "__builtins__"),
  ("torch.storage", "_load_from_bytes"),
  ("torch_utils.persistence", "_reconstruct_persistent_obj"),
  ("collections", "OrderedDict.__init__.__globals__"),
  ("numpy", "load"),
]


@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_only_needed_globals_are_allowed(tmp_path, name):
  tw.save_zip(tmp_path / "f", {"x": tw.Name(*name)})
  assert_rejected(tmp_path / "f", "its pickle requests the global")


REBUILD = tw.Name("torch._utils", "_rebuild_tensor_v2")
BUILDS = {
  "function": tw.Call(REBUILD, (tw.Stored(ONES), 0, (4,), (1,)), {"x": 1}),
  "class": b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
  "name": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
  b"}X\x08\x00\x00\x00__code__K\x01sb.",
  "dict": b"\x80\x02}}X\x09\x00\x00\x00__class__K\x01sb.",
  "namespace": b"\x80\x02cargparse\nNamespace\n)\x81]b.",
}


@pytest.mark.parametrize("case", BUILDS)
def test_attributes_are_not_written(tmp_path, case):
  payload = BUILDS[case]
  if isinstance(payload, bytes):
    zip_of(tmp_path / "f", payload)
  else:
    tw.save_zip(tmp_path / "f", payload)
  assert_rejected(tmp_path / "f", "sets attributes")


CALLS = {
  "storage name": (b"ctorch\nFloatStorage\n)R.", "not a known name"),
  "text": (b"X\x01\x00\x00\x00a)R.", "not a known name"),
  "no tuple": (b"ccollections\nOrderedDict\n]R.", "not a known name"),
  "wrong count": (b"ctorch._utils\n_rebuild_parameter\n)R.", "damaged"),
  "empty stack": (b"R.", "damaged"),
  "no object": (b".", "before its object is complete"),
  "two objects": (b"NN.", "before its object is complete"),
  "open mark": (b"(N.", "before its object is complete"),
  "half pair": (b"}(Nu.", "a key without a value"),
  "unknown memo": (b"h\x07.", "damaged"),
  "append to dict": (b"}Na.", "not a list"),
  "unhashable": (b"}]Ns.", "neither a string nor a number"),
  "storage without file": (b"NQ.", "refers to an object that is not a storage"),
  "text encoding": (
    b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.",
    "encodes text",
  ),
  "constructor": (b"cargparse\nNamespace\n)}\x92.", "opcode NEWOBJ_EX"),
  "removal": (b"N0N.", "opcode POP"),
  "text id": (b"Pname\n.", "opcode PERSID"),
  # The hash of t = (t, t), fifty deep, would take years.
  "slow key": (b"})" + b"q\x00h\x00\x86" * 50 + b"Ns.", "string nor a number"),
  "tensor of nothing": (
    b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.",
    "not a storage",
  ),
}


@pytest.mark.parametrize("case", CALLS)
def test_ill_formed_pickles(tmp_path, case):
  payload, message = CALLS[case]
  zip_of(tmp_path / "f", b"\x80\x02" + payload)
  assert_rejected(tmp_path / "f", message)


BOMBS = {
  "zero strides": dict(size=(10**6, 10**6), stride=(0, 0)),
  "one zero stride": dict(size=(2, 2), stride=(0, 1)),
  "huge shape": dict(size=(2**61,), stride=(1,)),
  "overlap": dict(size=(10**5, 10**5), stride=(1, 1)),
  "beyond the end": dict(size=(2, 2), stride=(3, 1)),
  "offset": dict(size=(2,), stride=(1,), offset=3),
  "negative offset": dict(size=(2,), stride=(1,), offset=-1),
  "negative stride": dict(size=(2,), stride=(-1,)),
  "negative size": dict(size=(-2, -2), stride=(1, 1)),
  "many axes": dict(size=(1,) * 1000, stride=(1,) * 1000),
  "missing stride": dict(size=(2, 2), stride=(1,)),
  "no numbers": dict(size=("a",), stride=(1,)),
  "larger storage": dict(storage=tw.Stored(ONES, count=2**40)),
  "negative storage": dict(storage=tw.Stored(ONES, count=-4)),
}


@pytest.mark.parametrize("save", ["zip", "legacy"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(tmp_path, save, bomb):
  state = {"w": tw.tensor(ONES, **BOMBS[bomb])}
  if save == "zip":
    tw.save_zip(tmp_path / "f", state)
  else:
    (tmp_path / "f").write_bytes(tw.legacy_bytes(state))
  assert_rejected(tmp_path / "f", "it declares|its storage|damaged")


def test_number_of_opcodes_is_limited():
  data = b"\x80\x02(" + b"N" * 1000 + b"t."
  assert len(read_pickle(io.BytesIO(data), {}, max_opcodes=1004)) == 1000
  with pytest.raises(RejectedFileError, match="more than 1003 opcodes"):
    read_pickle(io.BytesIO(data), {}, max_opcodes=1003)


def archive(path, members, compression=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, "w", compression) as file:
    for name, data in members:
      file.writestr(name, data)


def test_archives(tmp_path):
  path, empty = tmp_path / "f", b"\x80\x02}."
  tw.save_zip(path, {"w": tw.tensor(ONES)})
  assert list(read_checkpoint(path)) == ["w"]

  bomb = tw.tensor(np.zeros(10**6, np.float32))
  tw.save_zip(path, {"w": bomb}, compression=zipfile.ZIP_DEFLATED)
  assert path.stat().st_size < 10**4
  assert_rejected(path, "compressed or encrypted")
  for name in ("../../evil", "/etc/passwd", "archive/data/../../x"):
    archive(path, [("archive/data.pkl", empty), (name, b"")])
    assert_rejected(path, "has a duplicate or unsafe member")
  with pytest.warns(UserWarning, match="Duplicate"):
    archive(path, [("archive/data.pkl", empty)] * 2)
  assert_rejected(path, "has a duplicate or unsafe member")
  archive(path, [("a/data.pkl", empty), ("b/data.pkl", empty)])
  assert_rejected(path, "torch.save did not write it")
  archive(path, [("arr_0.npy", b"")])
  assert_rejected(path, "torch.save did not write it")
  archive(path, [("a/data.pkl", empty), ("a/byteorder", b"big")])
  assert_rejected(path, "big-endian")
  pickled, _ = tw.pickled({"w": tw.tensor(ONES)})
  archive(path, [("a/data.pkl", pickled)])
  assert_rejected(path, "is not in the archive")
  pickled, _ = tw.pickled(
    {"w": tw.tensor(ONES, storage=tw.Stored(ONES, "../../../etc/passwd"))}
  )
  archive(path, [("a/data.pkl", pickled)])
  assert_rejected(path, "is not in the archive")


def test_snapshots(tmp_path):
  def assert_snapshot_rejected(snapshot, message):
    (tmp_path / "f").write_bytes(tw.pickled(snapshot, protocol=4)[0])
    assert_rejected(tmp_path / "f", message)

  network = tw.edm_module("Linear", {"w": ONES})
  network.arguments[0]["version"] = 5
  assert_snapshot_rejected({"ema": network}, "version 6")
  assert_snapshot_rejected(
    {"ema": tw.edm_module("Net", {}, {"m": {"w": 1}})}, "is not a module, or"
  )
  network = tw.edm_module("Linear")
  network.arguments[0]["state"]["_parameters"]["w"] = 3
  assert_snapshot_rejected({"ema": network}, "is not a tensor")
  # Fifty objects that stand for 2^50 modules.
  network = tw.edm_module("Linear", {"w": ONES})
  for _ in range(50):
    network = tw.edm_module("Net", {}, {"a": network, "b": network})
  assert_snapshot_rejected({"ema": network}, "contains itself")


@pytest.fixture(scope="module")
def valid_files(tmp_path_factory):
  """Returns a valid file of each format, as bytes."""
  state = {"w": tw.tensor(ONES), "n": 3}
  path = tmp_path_factory.mktemp("valid") / "f"
  tw.save_zip(path, state)
  network = tw.edm_module("Linear", {"w": ONES})
  return {
    "zip": path.read_bytes(),
    "legacy": tw.legacy_bytes(state),
    "edm": tw.pickled({"ema": network}, protocol=4)[0],
  }


def test_truncated_and_appended(tmp_path, valid_files):
  for data in valid_files.values():
    (tmp_path / "f").write_bytes(data)
    read_checkpoint(tmp_path / "f")
    for size in range(0, len(data), 7):
      (tmp_path / "f").write_bytes(data[:size])
      with pytest.raises(UsageError):
        read_checkpoint(tmp_path / "f")
    (tmp_path / "f").write_bytes(data + b"\0" * 8)
    assert_rejected(tmp_path / "f", "there are bytes after")


@hypothesis.given(
  which=st.sampled_from(["zip", "legacy", "edm"]),
  changes=st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
    min_size=1,
    max_size=3,
  ),
)
@hypothesis.settings(
  max_examples=150,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_changed_bytes_never_crash(tmp_path, valid_files, which, changes):
  data = bytearray(valid_files[which])
  for position, value in changes:
    data[int(position * len(data))] = value
  (tmp_path / "f").write_bytes(data)
  try:
    read_checkpoint(tmp_path / "f")
  except UsageError:
    pass
