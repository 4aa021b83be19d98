"""Conversion of TFDS's tfrecord files to array_record, without TensorFlow."""

import os
import subprocess
import sys

import numpy as np
import pytest

from get_jax.data import create_source, prepare
from get_jax.data.tfrecord import read_tfrecord
from tests.data_sets import TFDS_PIXELS, write_tfds
from tests.helpers import ROOT


def source(data_dir):
  return create_source(
    "tfds", dataset="cifar10", image_size=4, data_dir=str(data_dir)
  )


def test_the_command_in_the_message_converts_the_data(tmp_path, capsys):
  folder = write_tfds(tmp_path)
  command = f"run: python -m get_jax.data.prepare cifar10 --data_dir={tmp_path}"
  with pytest.raises(
    ValueError, match="prepared as tfrecord, without"
  ) as error:
    source(tmp_path)
  assert str(error.value).endswith(command)
  before = {path: path.read_bytes() for path in folder.glob("*.tfrecord*")}

  arguments = command.split(" get_jax.data.prepare ")[1].split()
  for _ in range(2):
    assert prepare.main(arguments) == 0
    assert "{'train': 5}" in capsys.readouterr().out
  assert before == {path: path.read_bytes() for path in before}
  assert not list(folder.glob("*.tmp"))
  found = source(tmp_path).read(np.array([4, 0, 2]))
  pixels = np.round((found["image"] + 1) * 127.5)
  np.testing.assert_array_equal(pixels, TFDS_PIXELS[[4, 0, 2]])
  np.testing.assert_array_equal(found["label"], [4, 0, 2])
  assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("size", [-1, -5, 7])
def test_a_truncated_file_is_reported(tmp_path, size, capsys):
  folder = write_tfds(tmp_path)
  path = folder / "cifar10-train.tfrecord-00001-of-00002"
  whole = path.stat().st_size
  os.truncate(path, size if size > 0 else whole + size)
  assert prepare.main(["cifar10", f"--data_dir={tmp_path}"]) == 2
  assert f"{path} ends within a record" in capsys.readouterr().err
  with pytest.raises(ValueError, match="prepared as tfrecord"):
    source(tmp_path)


def test_missing_records_are_counted(tmp_path, capsys):
  folder = write_tfds(tmp_path)
  path = folder / "cifar10-train.tfrecord-00000-of-00002"
  os.truncate(path, sum(len(r) + 16 for r in list(read_tfrecord(path))[:2]))
  assert prepare.main(["cifar10", f"--data_dir={tmp_path}"]) == 2
  assert f"{path} has 2 records; expected 3" in capsys.readouterr().err


def test_help():
  done = subprocess.run(
    [sys.executable, "-m", "get_jax.data.prepare", "--help"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0
  assert "python -m get_jax.data.prepare cifar10 [--data_dir=DIR]" in (
    done.stdout
  )


def test_preparing_needs_tensorflow(tmp_path, capsys):
  if "tensorflow" in sys.modules:
    pytest.skip("TensorFlow is installed")
  assert prepare.main(["mnist", f"--data_dir={tmp_path}"]) == 2
  assert "pip install 'get_jax[prepare]'" in capsys.readouterr().err
  assert prepare.main(["mnits", f"--data_dir={tmp_path}"]) == 2
  assert "tfds has no data set 'mnits'" in capsys.readouterr().err
