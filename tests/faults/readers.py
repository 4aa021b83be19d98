"""The readers of files that others may have damaged, and good files for each.

`write` makes good files in an empty folder, and `read` reads all of what a
program would read of them. Any file in the folder may be damaged.
"""

import io
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from PIL import Image

from get_jax.data import create_source, open_images
from get_jax.data.captions import read_captions
from get_jax.data.tfrecord import read_tfrecord
from get_jax.evaluation.extractors.classifier import (
  Classifier,
  ExtractorOutput,
  load_classifier,
  save_classifier,
)
from get_jax.evaluation.extractors.registry import CallableExtractor
from get_jax.evaluation.feature_shards import FeatureShards
from get_jax.evaluation.features import FeatureSummary
from get_jax.evaluation.reference import (
  Reference,
  read_reference,
  write_reference,
)
from get_jax.evaluation.statistics import GaussianStatistics
from get_jax.interop import read_checkpoint
from get_jax.interop.pretrained import open_autoencoder
from get_jax.interop.state_dict import extract_state_dict
from get_jax.jobs.run_status import read_status
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import Layout, ShardWriter
from get_jax.training.metrics import read_metrics
from get_jax.training.workdir import open_workdir, read_config
from tests import data_sets
from tests import torch_writer as tw
from tests.faults.reader import Folder, Reader, file
from tests.faults.readers_of_libraries import LIBRARY_READERS
from tests.faults.readers_of_records import RECORD_READERS
from tests.helpers import tiny_config

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)
PIXELS = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)


# Checkpoints.


def _torch_zip(folder: Folder) -> None:
  state = {"ema": {"w": tw.tensor(ARRAY), "b": tw.tensor(ARRAY[0])}, "n": 3}
  tw.save_zip(folder / "f.pt", state)


def _edm_pickle(folder: Folder) -> None:
  network = tw.edm_module("Linear", {"w": ARRAY}, {})
  network = tw.edm_module("Net", {}, {"inner": network})
  content = tw.pickled({"ema": network}, protocol=4)[0]
  (folder / "f.pkl").write_bytes(content)


def _read_checkpoint(folder: Folder) -> None:
  (path,) = folder.iterdir()
  for tensor in extract_state_dict(read_checkpoint(path)).values():
    np.array(tensor)


# Evaluation.

EXTRACTOR = CallableExtractor(
  lambda images: np.zeros((len(images), 4), np.float32), "four", 4
)


def _write_reference(folder: Folder) -> None:
  rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
  statistics = GaussianStatistics(rows.mean(0), np.cov(rows, rowvar=False), 6)
  summary = FeatureSummary("four", statistics, None, rows)
  write_reference(folder / "f.npz", Reference(summary, "rows"))


def _read_reference(folder: Folder) -> None:
  reference = read_reference(folder / "f.npz", EXTRACTOR, keep_features=True)
  assert len(reference.digest) == 64


def _write_images_npz(folder: Folder) -> None:
  images = np.stack([PIXELS] * 3)
  np.savez(folder / "f.npz", arr_0=images, arr_1=np.arange(3))


def _read_images_npz(folder: Folder) -> None:
  for batch in open_images(folder / "f.npz").batches(2):
    assert batch.dtype == np.uint8


def _shards(folder: Folder) -> FeatureShards:
  return FeatureShards(folder, {"seed": 0}, count=4, size=2)


def _write_features(folder: Folder) -> None:
  shards = _shards(folder)
  for shard in range(2):
    output = ExtractorOutput(ARRAY[:2], ARRAY[:2])
    shards.write(shard, [output], np.arange(2))


def _read_features(folder: Folder) -> None:
  summary = _shards(folder).summarize(EXTRACTOR, keep_features=True)
  assert summary.statistics.count == 4


def _write_classifier(folder: Folder) -> None:
  network, image = Classifier((4,), 4, 2), np.zeros((1, 4, 4, 1), np.uint8)
  shapes = jax.eval_shape(network.init, jax.random.key(0), image)["params"]
  params = jax.tree.map(lambda leaf: np.ones(leaf.shape), shapes)
  save_classifier(folder / "f.npz", "c", network, params, image.shape[1:])


# Data.


def _encoded(name: str, image: Image.Image, **options: Any) -> bytes:
  encoded = io.BytesIO()
  image.save(encoded, name, **options)
  return encoded.getvalue()


def _formats() -> dict[str, bytes]:
  rgb = Image.fromarray(PIXELS)
  grey = Image.fromarray(PIXELS[..., 0])
  deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
  alpha = rgb.convert("RGBA")
  exif = Image.Exif()
  exif[274] = 6
  return {
    "rgb.png": _encoded("PNG", rgb),
    "alpha.png": _encoded("PNG", alpha, exif=exif),
    "deep.png": _encoded("PNG", deep),
    "palette.png": _encoded("PNG", rgb.quantize(8), transparency=0),
    "rgb.jpg": _encoded("JPEG", rgb, exif=exif),
    "grey.jpg": _encoded("JPEG", grey, progressive=True),
    "rgb.tif": _encoded("TIFF", rgb, compression="tiff_lzw"),
    "deep.tif": _encoded("TIFF", deep),
    "frames.gif": _encoded("GIF", grey, save_all=True, append_images=[grey]),
    "rgb.webp": _encoded("WEBP", rgb),
    "alpha.webp": _encoded("WEBP", alpha, lossless=True),
    "rgb.bmp": _encoded("BMP", rgb),
    "rgb.ppm": _encoded("PPM", rgb),
    "rgb.tga": _encoded("TGA", rgb),
    "rgb.jp2": _encoded("JPEG2000", rgb),
    "rgb.ico": _encoded("ICO", alpha, sizes=[alpha.size]),
  }


def _read_each_image(folder: Folder) -> None:
  source = create_source("images", path=folder, image_size=8, labels=False)
  errors = []
  for index in range(len(source)):
    try:
      source.read(np.array([index]))
    except ValueError as error:
      errors.append(error)
  for error in errors:
    raise error


def _class_folders(folder: Folder) -> None:
  for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
    path = folder / "f" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data_sets.png(PIXELS))


def _metadata(folder: Folder) -> None:
  for name in ("0.png", "1.png"):
    (folder / name).write_bytes(data_sets.png(PIXELS))
  rows = [{"file_name": f"{i}.png", "label": i} for i in range(2)]
  lines = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / "metadata.jsonl").write_text(lines)


def _zip_of_images(folder: Folder) -> None:
  import zipfile

  with zipfile.ZipFile(folder / "f.zip", "w") as archive:
    for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
      archive.writestr(name, data_sets.png(PIXELS))


def _edm_zip(folder: Folder) -> None:
  import zipfile

  labels = {"labels": [["00/0.png", 0], ["00/1.png", 1]]}
  with zipfile.ZipFile(folder / "f.zip", "w") as archive:
    archive.writestr("00/0.png", data_sets.png(PIXELS))
    archive.writestr("00/1.png", data_sets.png(PIXELS), zipfile.ZIP_DEFLATED)
    archive.writestr("dataset.json", json.dumps(labels))


def _tar(folder: Folder) -> None:
  files = {
    "0.png": data_sets.png(PIXELS),
    "0.cls": b"0",
    "1.png": data_sets.png(PIXELS),
    "1.json": b'{"label": 1}',
  }
  data_sets.tar(folder / "f.tar", files)


def _array_records(folder: Folder) -> None:
  image = data_sets.png(PIXELS)
  records = [data_sets.example(image=image, label=i) for i in range(2)]
  data_sets.write_array_records(folder, records)


def _source(name: str, path: str, **settings: Any) -> Callable[[Folder], Any]:
  def read(folder: Folder) -> None:
    source = create_source(
      name, path=str(folder / path), image_size=8, **settings
    )
    source.read(np.arange(len(source)))

  return read


def _tfrecord(folder: Folder) -> None:
  content = data_sets.tfrecord(b"first") + data_sets.tfrecord(b"second")
  (folder / "f.tfrecord").write_bytes(content)


COCO = {
  "images": [{"id": 1, "file_name": "a.jpg"}],
  "annotations": [{"id": 2, "image_id": 1, "caption": "a cat"}],
}
LINES = b'{"file_name": "a.jpg", "caption": "a cat"}\n{"caption": "a dog"}\n'
LAYOUT = Layout(
  "get_jax test 1", 5, 3, {"x": ("float32", (2,)), "y": ("int32", ())}, {"a": 1}
)


def _write_shards(folder: Folder) -> None:
  writer = ShardWriter(folder, LAYOUT)
  for shard in range(2):
    n = len(LAYOUT.shard_range(shard))
    x = np.full((n, 2), shard, np.float32)
    writer.write(shard, {"x": x, "y": np.arange(n, dtype=np.int32)})
  writer.unlock()
  for path in folder.glob("lock*"):
    path.unlink()


def _read_shards(folder: Folder) -> None:
  reader = ShardReader(folder, "get_jax test", "make them again")
  reader.read(np.arange(len(reader)))
  reader.column("y")
  reader.read_array(0, "x")


# Runs.


def _write_metrics(folder: Folder) -> None:
  lines = [{"step": step, "loss": 1 / step} for step in range(1, 6)]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "metrics.jsonl").write_text(text)


def _read_metrics(folder: Folder) -> None:
  assert all(record["step"] >= 0 for record in read_metrics(folder))


def _write_run(folder: Folder) -> None:
  _write_metrics(folder)
  open_workdir(folder, tiny_config())
  (folder / "results").mkdir()
  (folder / "results" / "train.json").write_text('{"parameters": 3}')


def _read_run(folder: Folder) -> None:
  read_config(folder)
  read_status(str(folder))


def _open_run(folder: Folder) -> None:
  open_workdir(folder, tiny_config())


AUTOENCODER = {"latent_channels": 4, "block_out_channels": [8, 16]}


def _write_autoencoder(folder: Folder) -> None:
  (folder / "config.json").write_text(json.dumps(AUTOENCODER))
  name = "diffusion_pytorch_model.safetensors"
  (folder / name).write_bytes(safetensors.numpy.save({"w": ARRAY}))


READERS = {
  "checkpoint-zip": Reader(_torch_zip, _read_checkpoint),
  "checkpoint-legacy": Reader(
    file("f.pth", tw.legacy_bytes({"ema": {"w": tw.tensor(ARRAY)}, "n": 3})),
    _read_checkpoint,
  ),
  "checkpoint-edm": Reader(_edm_pickle, _read_checkpoint),
  "checkpoint-safetensors": Reader(
    file("f", safetensors.numpy.save({"w": ARRAY, "b": ARRAY[0]})),
    _read_checkpoint,
  ),
  "autoencoder-config": Reader(
    _write_autoencoder, lambda folder: open_autoencoder(folder)
  ),
  "reference": Reader(_write_reference, _read_reference),
  "images-npz": Reader(_write_images_npz, _read_images_npz),
  "feature-shards": Reader(_write_features, _read_features),
  "classifier": Reader(
    _write_classifier, lambda folder: load_classifier(folder / "f.npz")
  ),
  "image-formats": Reader(
    lambda folder: [
      (folder / name).write_bytes(data) for name, data in _formats().items()
    ],
    _read_each_image,
  ),
  "image-zip": Reader(_zip_of_images, _source("images", "f.zip")),
  "image-metadata": Reader(_metadata, _source("images", "")),
  "edm-zip": Reader(_edm_zip, _source("edm_zip", "f.zip")),
  "webdataset": Reader(_tar, _source("webdataset", "f.tar")),
  "array-records": Reader(_array_records, _source("array_record", "")),
  "tfrecord": Reader(
    _tfrecord, lambda folder: list(read_tfrecord(folder / "f.tfrecord"))
  ),
  "captions-coco": Reader(
    file("f.json", json.dumps(COCO).encode()),
    lambda folder: read_captions(folder / "f.json"),
  ),
  "captions-lines": Reader(
    file("f.jsonl", LINES), lambda folder: read_captions(folder / "f.jsonl")
  ),
  "shards": Reader(_write_shards, _read_shards),
  "metrics": Reader(_write_metrics, _read_metrics),
  "run": Reader(_write_run, _read_run),
  "run-config": Reader(_write_run, _open_run),
  **RECORD_READERS,
  **LIBRARY_READERS,
}
