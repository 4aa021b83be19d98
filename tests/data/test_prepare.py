"""Conversion of TFDS's tfrecord files to array_record, without TensorFlow."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from get_jax.data import create_source, prepare
from get_jax.data.tfrecord import read_tfrecord
from tests.helpers import ROOT

PIXELS = np.random.RandomState(0).randint(0, 256, (5, 4, 4, 3), np.uint8)


def varint(number):
  head, rest = number & 127, number >> 7
  return bytes([head | 128]) + varint(rest) if rest else bytes([head])


def field(number, content):
  return bytes([number << 3 | 2]) + varint(len(content)) + content


def example(pixels, label):
  """Returns a serialized tf.train.Example of an image and a class."""
  import io

  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "png")
  values = {
    b"image": field(1, field(1, file.getvalue())),
    b"label": field(3, field(1, varint(label))),
  }
  entries = (field(1, k) + field(2, v) for k, v in values.items())
  return field(1, b"".join(field(1, entry) for entry in entries))


def tfrecord(record):
  return struct.pack("<Q4x", len(record)) + record + bytes(4)


def prepared(data_dir):
  """Writes CIFAR-10 as TFDS prepares it by default, in two files."""
  folder = data_dir / "cifar10" / "3.0.2"
  folder.mkdir(parents=True)
  split = {
    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    "name": "train",
    "numBytes": "0",
    "shardLengths": ["3", "2"],
  }
  info = {
    "fileFormat": "tfrecord",
    "name": "cifar10",
    "splits": [split],
    "version": "3.0.2",
  }
  (folder / "dataset_info.json").write_text(json.dumps(info))
  features = "tensorflow_datasets.core.features"
  dimensions = {"dimensions": ["4", "4", "3"]}
  described = {
    "image": {
      "image": {"dtype": "uint8", "shape": dimensions},
      "pythonClassName": f"{features}.image_feature.Image",
    },
    "label": {
      "classLabel": {"numClasses": "10"},
      "pythonClassName": f"{features}.class_label_feature.ClassLabel",
    },
  }
  content = {
    "featuresDict": {"features": described},
    "pythonClassName": f"{features}.features_dict.FeaturesDict",
  }
  (folder / "features.json").write_text(json.dumps(content))
  for shard, rows in enumerate((range(3), range(3, 5))):
    name = f"cifar10-train.tfrecord-{shard:05d}-of-00002"
    content = b"".join(tfrecord(example(PIXELS[i], i)) for i in rows)
    (folder / name).write_bytes(content)
  return folder


def source(data_dir):
  return create_source(
    "tfds", dataset="cifar10", image_size=4, data_dir=str(data_dir)
  )


def test_the_command_in_the_message_converts_the_data(tmp_path, capsys):
  folder = prepared(tmp_path)
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
  np.testing.assert_array_equal(pixels, PIXELS[[4, 0, 2]])
  np.testing.assert_array_equal(found["label"], [4, 0, 2])
  assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("size", [-1, -5, 7])
def test_a_truncated_file_is_reported(tmp_path, size, capsys):
  folder = prepared(tmp_path)
  path = folder / "cifar10-train.tfrecord-00001-of-00002"
  whole = path.stat().st_size
  os.truncate(path, size if size > 0 else whole + size)
  assert prepare.main(["cifar10", f"--data_dir={tmp_path}"]) == 2
  assert f"{path} ends within a record" in capsys.readouterr().err
  with pytest.raises(ValueError, match="prepared as tfrecord"):
    source(tmp_path)


def test_missing_records_are_counted(tmp_path, capsys):
  folder = prepared(tmp_path)
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
