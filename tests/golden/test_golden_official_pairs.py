"""The official GET data set, read, imported and written back."""

import pathlib

import numpy as np
import pytest
from golden_numbers import nhwc

from get_jax.distillation.pairs import PairsSource, encode_images
from get_jax.jobs import official_pairs


@pytest.mark.parametrize("kind", ["uncond", "cond"])
def test_there_and_back(golden, golden_dir, kind, tmp_path):
  expected = golden("get/disk_expected").under(kind)
  folder = golden_dir / "get" / f"disk_{kind}"
  arguments = ["import", str(folder), str(tmp_path / "ours")]
  assert official_pairs.main(arguments) == 0
  source = PairsSource(tmp_path / "ours")
  records = source.read(np.arange(len(source)))
  np.testing.assert_array_equal(records["noise"], nhwc(expected["latent"]))
  np.testing.assert_array_equal(records["image"], nhwc(expected["image"]))
  if kind == "cond":
    np.testing.assert_array_equal(records["label"], expected["label"])
    assert source.num_classes == 4
  else:
    assert source.num_classes is None

  exported = tmp_path / "official"
  official_pairs.export_pairs(tmp_path / "ours", exported)
  originals = official_pairs.read_official(folder)
  copies = official_pairs.read_official(pathlib.Path(exported))
  for original, copy in zip(originals, copies, strict=True):
    np.testing.assert_array_equal(copy[0], original[0])
    np.testing.assert_array_equal(copy[1], np.float32(original[1]))
    assert copy[1].dtype == original[1].dtype
    np.testing.assert_array_equal(copy[2], original[2])


def test_uint8(golden):
  case = golden("get/disk_expected").under("uint8")
  found = encode_images(case["input"], "uint8")
  np.testing.assert_array_equal(found, case["output"])


def test_a_file_alone_is_named(tmp_path, capsys):
  (tmp_path / "latent").mkdir()
  arguments = ["import", str(tmp_path), str(tmp_path / "ours")]
  assert official_pairs.main(arguments) == 2
  assert "holds no official pairs" in capsys.readouterr().err
  (tmp_path / "latent" / "000000001.pkl").write_bytes(b"x")
  assert official_pairs.main(arguments) == 2
  assert "000000001.pkl in latent/ only" in capsys.readouterr().err
