"""Small data sets in the formats that data sources read."""

import io
import json
import pickle
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

PIXELS = np.random.RandomState(0).randint(0, 256, (7, 8, 8, 3), np.uint8)
LABELS = [2, 0, 1, 1, 0, 2, 2]
NAMES = ("ant", "bee", "cat")


def png(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "png")
  return file.getvalue()


IMAGES = [png(p) for p in PIXELS]


def tar(path, files):
  path.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(path, "w") as archive:
    for name, content in files.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))


def write_webdataset(root, labels=LABELS, kind="cls"):
  """Writes two shards, with the files that macOS and webdataset add."""
  for shard, rows in enumerate((range(3), range(3, 7))):
    files = {"._0.png": b"junk", "./._0.cls": b"9"}
    for i in rows:
      label = labels[i]
      files[f"./part.1/{i:03d}.PNG"] = IMAGES[i]
      if kind == "cls":
        files[f"./part.1/{i:03d}.cls"] = f"{label}\n".encode()
      else:
        files[f"./part.1/{i:03d}.json"] = json.dumps({kind: label}).encode()
      files[f"./part.1/{i:03d}.seg.png"] = b"a mask"
      files[f"./part.1/{i:03d}.pyd"] = pickle.dumps(1)
    tar(root / "train" / f"x-{shard:03d}.tar", files)
  return root


def example(**values):
  from tensorflow_datasets.proto import tf_example_pb2

  message = tf_example_pb2.Example()
  for name, value in values.items():
    feature = message.features.feature[name.replace("__", "/")]
    if isinstance(value, bytes):
      feature.bytes_list.value.append(value)
    else:
      feature.int64_list.value.append(value)
  return message.SerializeToString()


def write_array_records(root, records):
  from array_record.python.array_record_module import ArrayRecordWriter

  (root / "train").mkdir(parents=True)
  for shard, part in enumerate((records[:3], records[3:])):
    name = root / "train" / f"x.array_record-{shard:05d}-of-00002"
    writer = ArrayRecordWriter(str(name), "group_size:1")
    for record in part:
      writer.write(record)
    writer.close()
  return root


def hugging_face_data(label=LABELS):
  datasets = pytest.importorskip("datasets")
  features = datasets.Features(
    picture=datasets.Image(), kind=datasets.ClassLabel(names=list(NAMES))
  )
  images = [Image.fromarray(p) for p in PIXELS]
  return datasets.Dataset.from_dict(
    {"picture": images, "kind": list(label)}, features=features
  )


def write_arrow(root):
  datasets = pytest.importorskip("datasets")
  data = hugging_face_data()
  splits = datasets.DatasetDict(train=data, test=data.select([0]))
  splits.save_to_disk(str(root))
  return root


def write_parquet(root):
  (root / "data").mkdir(parents=True)
  data = hugging_face_data()
  data.select(range(3)).to_parquet(root / "data/train-00000-of-00002.parquet")
  data.select(range(3, 7)).to_parquet(
    root / "data/train-00001-of-00002.parquet"
  )
  data.select([0]).to_parquet(root / "data/test-00000-of-00001.parquet")
  (root / "data.py").write_text("raise RuntimeError('this was run')")
  return root


WRITERS = {
  "webdataset": ("webdataset", write_webdataset),
  "webdataset_json": (
    "webdataset",
    lambda root: write_webdataset(root, kind="label"),
  ),
  "array_record": (
    "array_record",
    lambda root: write_array_records(
      root,
      [example(image=x, label=y) for x, y in zip(IMAGES, LABELS, strict=True)],
    ),
  ),
  "arrow": ("hugging_face", write_arrow),
  "parquet": ("hugging_face", write_parquet),
}

TFDS_PIXELS = np.random.RandomState(0).randint(0, 256, (5, 4, 4, 3), np.uint8)


def varint(number):
  head, rest = number & 127, number >> 7
  return bytes([head | 128]) + varint(rest) if rest else bytes([head])


def field(number, content):
  return bytes([number << 3 | 2]) + varint(len(content)) + content


def tfds_example(pixels, label):
  """Returns a serialized tf.train.Example of an image and a class."""
  values = {
    b"image": field(1, field(1, png(pixels))),
    b"label": field(3, field(1, varint(label))),
  }
  entries = (field(1, k) + field(2, v) for k, v in values.items())
  return field(1, b"".join(field(1, entry) for entry in entries))


def tfrecord(record):
  return struct.pack("<Q4x", len(record)) + record + bytes(4)


def write_tfds(data_dir):
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
    content = b"".join(tfrecord(tfds_example(TFDS_PIXELS[i], i)) for i in rows)
    (folder / name).write_bytes(content)
  return folder
