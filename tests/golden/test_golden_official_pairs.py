"""The official GET data set, read, imported and written back."""

import pathlib

import numpy as np
from cases import cases, each, files, find
from golden_numbers import nhwc

from get_jax.distillation.pairs import PairsSource, encode_images
from get_jax.jobs import official_pairs

FILES = files("get/disk_*/*/*.pkl")


def kinds(case):
  """The data sets of a case: "uncond" is in the folder disk_uncond."""
  return [k for k in ("uncond", "cond") if case.under(k)]


def folder_of(case, kind):
  return case.path.parent / f"disk_{kind}"


def test_every_folder_has_expected_numbers():
  described = {
    folder_of(case, kind)
    for case in find("get/disk_*.npz")
    for kind in kinds(case)
  }
  assert {path.parents[1] for path in FILES} == described


@each("get/disk_*.npz", kinds)
def test_there_and_back(case, name, tmp_path):
  expected = case.under(name)
  folder = folder_of(case, name)
  arguments = ["import", str(folder), str(tmp_path / "ours")]
  assert official_pairs.main(arguments) == 0
  source = PairsSource(tmp_path / "ours")
  records = source.read(np.arange(len(source)))
  np.testing.assert_array_equal(records["noise"], nhwc(expected["latent"]))
  np.testing.assert_array_equal(records["image"], nhwc(expected["image"]))
  if "onehot" in expected:
    np.testing.assert_array_equal(records["label"], expected["label"])
    assert source.num_classes == expected["onehot"].shape[1]
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


@cases("get/disk_*.npz")
def test_uint8(case):
  images = case.under("uint8")
  got = encode_images(images["input"], "uint8")
  np.testing.assert_array_equal(got, images["output"])


def test_a_file_alone_is_named(tmp_path, capsys):
  (tmp_path / "latent").mkdir()
  arguments = ["import", str(tmp_path), str(tmp_path / "ours")]
  assert official_pairs.main(arguments) == 2
  assert "holds no official pairs" in capsys.readouterr().err
  (tmp_path / "latent" / "000000001.pkl").write_bytes(b"x")
  assert official_pairs.main(arguments) == 2
  assert "000000001.pkl in latent/ only" in capsys.readouterr().err
