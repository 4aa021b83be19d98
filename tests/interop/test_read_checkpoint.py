"""Reads checkpoints that the tests write in PyTorch's formats."""

import pickle
import sys
import types

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from get_jax.errors import UsageError
from get_jax.interop import read_checkpoint
from get_jax.interop.formats.edm_pickle import ModuleState
from tests import torch_writer as tw


def save_legacy(path, obj):
  path.write_bytes(tw.legacy_bytes(obj))


SAVERS = {"zip": tw.save_zip, "legacy": save_legacy}
ARRAYS = st.sampled_from(sorted(tw.STORAGES)).flatmap(
  lambda name: hnp.arrays(
    np.uint8 if name in ("bool", "bfloat16") else name,
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
  ).map(
    lambda a: (
      a.astype({"bool": bool, "bfloat16": ml_dtypes.bfloat16}[name])
      if name in ("bool", "bfloat16")
      else a
    )
  )
)


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
@hypothesis.given(
  arrays=st.dictionaries(st.text(max_size=8), ARRAYS, max_size=4)
)
@hypothesis.settings(
  max_examples=25,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_tensors_round_trip(tmp_path, save, arrays):
  save(tmp_path / "f", {k: tw.tensor(v) for k, v in arrays.items()})
  read = read_checkpoint(tmp_path / "f")
  assert list(read) == list(arrays)
  for name, array in arrays.items():
    assert read[name].dtype == array.dtype
    np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_views_share_their_storage_and_nothing_can_be_written(tmp_path, save):
  base = np.arange(24, dtype=np.float32)
  storage = tw.Stored(base)
  save(
    tmp_path / "f",
    {
      "rows": tw.tensor(base, (4, 6), storage=storage),
      "columns": tw.tensor(base, (6, 4), (1, 6), storage=storage),
      "part": tw.tensor(base, (2, 3), (12, 2), offset=1, storage=storage),
      "one": tw.tensor(base, (1, 2), (999, 1), storage=storage),
    },
  )
  read = read_checkpoint(tmp_path / "f")
  rows = base.reshape(4, 6)
  np.testing.assert_array_equal(read["rows"], rows)
  np.testing.assert_array_equal(read["columns"], rows.T)
  np.testing.assert_array_equal(read["part"], [[1, 3, 5], [13, 15, 17]])
  np.testing.assert_array_equal(read["one"], base[None, :2])
  assert np.shares_memory(read["rows"], read["columns"])
  with pytest.raises(ValueError, match="read-only"):
    read["rows"][0, 0] = 1


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_data_other_than_tensors(tmp_path, save):
  args = tw.Call(tw.Name("argparse", "Namespace"), (), {"lr": 1e-4, "k": [3]})
  metadata = {"_metadata": {"": {"version": 1}}}
  weights = tw.Call(tw.ORDERED, (), metadata)
  save(
    tmp_path / "f",
    {
      "args": args,
      "model": weights,
      "step": 2**40,
      "done": (True, None, -1.5, "ü", b"\x00\xff"),
      "best": np.float64(2.5),
    },
  )
  read = read_checkpoint(tmp_path / "f")
  assert read["args"] == types.SimpleNamespace(lr=1e-4, k=[3])
  assert read["model"] == {}
  assert read["step"] == 2**40
  assert read["done"] == (True, None, -1.5, "ü", b"\x00\xff")
  assert read["best"] == 2.5


def test_safetensors(tmp_path):
  arrays = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.ones((), np.float16),
    "brain": np.ones(3, ml_dtypes.bfloat16),
    "empty": np.zeros((0, 2), np.int64),
  }
  safetensors.numpy.save_file(arrays, tmp_path / "f")
  read = read_checkpoint(tmp_path / "f")
  assert read.keys() == arrays.keys()
  for name, array in arrays.items():
    assert read[name].dtype == array.dtype
    np.testing.assert_array_equal(read[name], array)


def test_snapshot_of_edm(tmp_path):
  weight = np.arange(6, dtype=np.float32).reshape(2, 3)
  marker = tmp_path / "executed"
  source = f"import pathlib; pathlib.Path({str(marker)!r}).touch()"
  inner = tw.edm_module("Linear", {"weight": weight, "bias": weight[0]})
  blocks = tw.Call(
    tw.Name("torch.nn.modules.container", "ModuleDict"),
    (),
    {"_parameters": {}, "_buffers": {}, "_modules": {"b": inner}},
  )
  network = tw.edm_module(
    "EDMPrecond", {}, {"enc": blocks, "last": inner}, source, img_channels=3
  )
  (tmp_path / "f.pkl").write_bytes(tw.pickled({"ema": network}, protocol=4)[0])
  ema = read_checkpoint(tmp_path / "f.pkl")["ema"]
  assert isinstance(ema, ModuleState)
  assert (ema.class_name, ema.init_kwargs) == (
    "EDMPrecond",
    {"img_channels": 3},
  )
  names = ["enc.b.weight", "enc.b.bias", "last.weight", "last.bias"]
  assert list(ema.tensors) == names
  np.testing.assert_array_equal(ema.tensors["last.weight"], weight)
  assert not marker.exists()


def test_reading_imports_no_torch(tmp_path):
  tw.save_zip(tmp_path / "f", {"w": tw.tensor(np.zeros(2, np.float32))})
  read_checkpoint(tmp_path / "f")
  assert "torch" not in sys.modules


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is empty"),
    (b"not a checkpoint", "is neither a file of torch.save nor safetensors"),
    (pickle.dumps([1, 2], 4), "not a snapshot of EDM"),
    (b"PK\x03\x04 and then nothing", "damaged or truncated"),
    (b"\x80\x04", "damaged or truncated"),
    (b"\x80\x04N.", "not a snapshot of EDM"),
    (b"\x10\0\0\0\0\0\0\0{}", "damaged or truncated"),
  ],
)
def test_other_files(tmp_path, content, message):
  (tmp_path / "f").write_bytes(content)
  with pytest.raises(UsageError, match=message) as error:
    read_checkpoint(tmp_path / "f")
  assert str(tmp_path / "f") in str(error.value)


def test_missing_file(tmp_path):
  with pytest.raises(UsageError, match="checkpoint file .* does not exist"):
    read_checkpoint(tmp_path / "nothing.pt")
