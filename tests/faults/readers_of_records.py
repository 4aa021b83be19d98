"""Readers of the small files that this library writes for itself.

See `tests.faults.readers`.
"""

import fcntl
import hashlib
import json
import tempfile
from typing import Any

import jax
import numpy as np
import requests
import safetensors.numpy

from get_jax.data import create_source
from get_jax.data.latents import LatentsSource, latents_layout
from get_jax.data.texts import StoredTexts, texts_layout
from get_jax.distillation.pairs import PairsInfo, PairsSource, PairsWriter
from get_jax.interop.official import export_official
from get_jax.interop.pretrained import load_text_encoder
from get_jax.jobs.data_info import check_data, report_data
from get_jax.jobs.report import read_report
from get_jax.jobs.report_page import write_page
from get_jax.models.parameters import abstract_params
from get_jax.storage.cache import Cache
from get_jax.storage.lease import Lease, find_holder
from get_jax.storage.paths import as_path
from get_jax.storage.shards import ShardWriter
from get_jax.text import CLIPTextEncoder
from get_jax.training.wandb_writer import RUN_FILE, run_id
from get_jax.training.workdir import open_workdir
from get_jax.weights.digests import read_record
from get_jax.weights.downloader import ResumingDownloader
from get_jax.weights.web_form import form_address
from tests import data_sets
from tests.faults.reader import Folder, Reader, file
from tests.helpers import tiny_job

IMAGE = data_sets.png(np.zeros((8, 8, 3), np.uint8))


# Data of a run.


def _images(folder: Folder) -> Any:
  return create_source("images", path=folder, image_size=8, labels=False)


def _write_data(folder: Folder) -> None:
  (folder / "0.png").write_bytes(IMAGE)
  check_data(_images(folder), folder)
  report_data(_images(folder), as_path(folder), "train")


def _read_data(folder: Folder) -> None:
  check_data(_images(folder), folder)
  report_data(_images(folder), as_path(folder), "train", resumed=True)


# Results of a run.

SCORES = {"fid[x]": 0.5, "kid[x]": 2e-5, "kid_std[x]": 1e-6}
RESULT = {
  "scores": SCORES,
  "protocol": {
    "samples": 5, "seed": 1, "evaluations": 2, "reference": "r",
    "reference_count": 3, "extractor": "x",
  },
  "seconds_per_1000_images": 1.5,
}  # fmt: skip
RESULTS = {
  "report": {
    "identity": "i", "GET": RESULT, "teacher": RESULT,
    "iterations": {"1": RESULT},
  },
  "evaluate": RESULT,
  "curve": {
    "over": "steps", "points": [[1, SCORES], [2, SCORES]],
    "protocol": RESULT["protocol"],
  },
  "train": {"parameters": 3, "devices": "1 x cpu"},
  "data": {
    "images": 3, "classes": {"a": 3}, "location": "x", "skipped": {".txt": 1},
    "broken": {"0.png": "it is cut"},
  },
}  # fmt: skip


def _write_results(folder: Folder) -> None:
  open_workdir(folder, tiny_job())
  lines = [
    {"step": step, "loss": 1 / step, "images_per_second": 8.0}
    for step in (4, 8)
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "metrics.jsonl").write_text(text)
  (folder / "results").mkdir()
  for name, content in RESULTS.items():
    (folder / f"results/{name}.json").write_text(json.dumps(content))


def _write_report(folder: Folder) -> None:
  (folder / "report.json").write_text(json.dumps(RESULTS["report"]))


# Shards with settings.


def _write_pairs(folder: Folder) -> None:
  info = PairsInfo(3, 0, (2, 2, 1), "uint8", 3, "t", {"name": "heun"}, 2)
  writer = PairsWriter(folder, info)
  for shard in range(2):
    n = len(info.shard_range(shard))
    images = np.full((n, 2, 2, 1), shard, np.float32)
    writer.write_pairs(shard, images, np.arange(n))
  _close(writer)


def _read_pairs(folder: Folder) -> None:
  source = PairsSource(folder)
  assert source.read(np.arange(3))["image"].shape == (3, 2, 2, 1)


def _write_latents(folder: Folder) -> None:
  layout = latents_layout(
    2, 2, (2, 2, 4), "float32", 3, 0.18, 0.0, True, "a", "d"
  )
  writer = ShardWriter(folder, layout)
  moments = np.zeros((2, 2, 2, 2, 4), np.float32)
  writer.write(0, {"moments": moments, "label": np.zeros(2, np.int32)})
  _close(writer)


def _read_latents(folder: Folder) -> None:
  source = LatentsSource(folder)
  images = source.read(np.arange(2), np.arange(2, dtype=np.uint64))["image"]
  assert images.shape == (2, 2, 2, 2)


def _write_texts(folder: Folder) -> None:
  layout = texts_layout([b"a cat", b"a dog"], 3, (2, 4), "float16", "e", "d")
  writer = ShardWriter(folder, layout)
  records = {
    "embedding": np.zeros((3, 2, 4), np.float16),
    "image": np.array([-1, 0, 1], np.int32),
    "caption": np.array([b"", b"a cat", b"a dog"], "S5"),
  }
  writer.write(0, records)
  _close(writer)


def _read_texts(folder: Folder) -> None:
  texts = StoredTexts(folder)
  ids = texts.ids_of_samples(np.arange(2))
  assert texts.read(ids).shape == (2, 2, 4)
  texts.captions(ids)


def _close(writer: ShardWriter) -> None:
  writer.unlock()
  for path in writer.directory.glob("lock*"):
    path.unlink()


# Weights.

ENCODER = dict(
  vocab_size=8, hidden_size=4, intermediate_size=4, num_attention_heads=2,
  num_hidden_layers=1, max_position_embeddings=4,
)  # fmt: skip


def _write_encoder(folder: Folder) -> None:
  (folder / "config.json").write_text(json.dumps(ENCODER))
  model = CLIPTextEncoder(**ENCODER)
  params = jax.tree.map(
    lambda leaf: np.zeros(leaf.shape, np.float32), abstract_params(model)
  )
  tensors = export_official(model, params)
  safetensors.numpy.save_file(tensors, folder / "model.safetensors")


URL = "https://example.org/file"


def _write_part(folder: Folder) -> None:
  (folder / "f.part").write_bytes(b"first bytes")
  content = {"url": URL, "validator": '"tag"'}
  (folder / "f.part.json").write_text(json.dumps(content))


def _read_part(folder: Folder) -> None:
  downloader = ResumingDownloader(folder / "f.part", "f", silent=True)
  # It is sent to the server.
  requests.Request(
    "GET", URL, {"If-Range": downloader.validator(URL)}
  ).prepare()


PAGE = (
  b'<html><form id="download-form" action="/get?x=1"><input name="id" '
  b'value="a&amp;b"><input name="c"></form><!-- x --></html>'
)


def _read_page(folder: Folder) -> None:
  page = (folder / "f.html").read_bytes().decode("utf-8", "replace")
  address = form_address(page, URL)
  assert address is None or address.startswith("https://")


def _write_sums(folder: Folder) -> None:
  (folder / "a.bin").write_bytes(b"content")
  digest = hashlib.sha256(b"content").hexdigest()
  (folder / "sha256.json").write_text(json.dumps({"a.bin": digest}))


def _read_sums(folder: Folder) -> None:
  with tempfile.TemporaryDirectory() as directory:
    Cache(directory, 2**20).is_whole(folder)


def _write_lease(folder: Folder) -> None:
  with Lease(folder / "lock", "it is held"):
    content = (folder / "lock").read_bytes()
  (folder / "lock").write_bytes(content)


def _read_lease(folder: Folder) -> None:
  with open(folder / "lock", "rb") as held:
    fcntl.flock(held, fcntl.LOCK_EX)  # by somebody
    assert find_holder(folder / "lock") is not None


RECORD_READERS = {
  "run-data": Reader(_write_data, _read_data),
  "run-page": Reader(
    _write_results, lambda folder: write_page(as_path(folder))
  ),
  "report": Reader(
    _write_report,
    lambda folder: read_report(as_path(folder / "report.json"), "i"),
  ),
  "wandb": Reader(
    lambda folder: run_id(as_path(folder / RUN_FILE), "team/digits"),
    lambda folder: run_id(as_path(folder / RUN_FILE), "team/digits"),
  ),
  "pairs": Reader(_write_pairs, _read_pairs),
  "latents": Reader(_write_latents, _read_latents),
  "texts": Reader(_write_texts, _read_texts),
  "text-encoder": Reader(_write_encoder, load_text_encoder),
  "download-part": Reader(_write_part, _read_part),
  "download-page": Reader(file("f.html", PAGE), _read_page),
  "download-digest": Reader(
    file("f.sha256", b"ab" * 32 + b"  f\n"),
    lambda folder: read_record(folder / "f"),
  ),
  "cache": Reader(_write_sums, _read_sums),
  "lease": Reader(_write_lease, _read_lease),
}
