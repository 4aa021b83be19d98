"""Data in a bucket are read as those on disk, bit for bit."""

import hashlib
import os
import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from get_jax.data import Pipeline, create_source, open_images, prepare
from get_jax.data.captions import read_captions
from get_jax.data.content import describe_content
from get_jax.distillation.pairs import PairsInfo, PairsSource, PairsWriter
from get_jax.errors import UsageError
from get_jax.interop.formats.read import read_checkpoint
from get_jax.storage import cache
from get_jax.storage.random_access import local_folder, open_file
from get_jax.storage.shard_reader import find_faults
from tests.data_sets import LABELS, PIXELS, WRITERS, write_tfds


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hugging_face"))
  cache.configure(tmp_path / "cache")
  yield tmp_path / "cache"
  cache.configure()


@pytest.fixture
def upload(bucket_server, bucket):
  """Returns a function that copies a file or folder, and returns its URL."""
  prefix = bucket.split("/", 3)[3]

  def copy(path):
    for file in [path, *path.rglob("*")]:
      if file.is_file():
        name = file.relative_to(path.parent).as_posix()
        bucket_server.put(f"{prefix}/{name}", file.read_bytes())
    return f"{bucket}/{path.name}"

  return copy


def write_images(root):
  for i, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
    path = root / "train" / "abc"[label] / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
  (root / "train" / ".hidden.png").write_bytes(b"junk")
  return root


def write_zip(path):
  with zipfile.ZipFile(path, "w") as archive:
    for i, (pixels, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
      with archive.open(f"train/{'abc'[label]}/{i}.png", "w") as file:
        Image.fromarray(pixels).save(file, "png")
  return path


def write_edm(path):
  labels = [[f"0/{i}.png", label] for i, label in enumerate(LABELS)]
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("dataset.json", str({"labels": labels}).replace("'", '"'))
    for i, pixels in enumerate(PIXELS):
      with archive.open(f"0/{i}.png", "w") as file:
        Image.fromarray(pixels).save(file, "png")
  return path


KINDS = {
  **{key: (*value, "train") for key, value in WRITERS.items()},
  "folder": ("images", write_images, "train"),
  "zip": ("images", write_zip, "train"),
  "edm": ("edm_zip", write_edm, None),
}


def assert_equal(found, expected):
  assert found.keys() == expected.keys()
  for name in expected:
    np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("kind", KINDS)
def test_sources_of_images(kind, tmp_path, upload, cache_folder):
  name, write, split = KINDS[kind]
  path = write(tmp_path / "data")
  settings = {"image_size": 8, **({"split": split} if split else {})}
  local = create_source(name, path=str(path), **settings)
  remote = create_source(name, path=upload(path), **settings)
  expected = local.read(np.arange(7))
  assert_equal(remote.read(np.arange(7)), expected)
  shutil.rmtree(cache_folder)
  if name == "hugging_face":
    return  # The files are open: a new process downloads them anew.
  assert_equal(pickle.loads(pickle.dumps(remote)).read(np.arange(7)), expected)
  content = describe_content(local)
  assert content == describe_content(remote)
  assert content["records"] == 7


def test_worker_processes_read_through_the_cache(tmp_path, upload):
  url = upload(write_images(tmp_path / "data"))
  source = create_source("images", path=url, split="train", image_size=8)
  pipeline = Pipeline(source, 3, seed=1, workers=1)
  for step, batch in enumerate(pipeline.batches(1, 3), 1):
    assert_equal(batch, pipeline.batch(step))


@pytest.mark.parametrize(
  "pattern", ["x-{000..001}.tar", "x-*.tar", "x-000.tar"]
)
def test_patterns_of_shards(pattern, tmp_path, upload):
  path = WRITERS["webdataset"][1](tmp_path / "data")
  url = upload(path)
  sources = [
    create_source("webdataset", path=f"{p}/train/{pattern}", image_size=8)
    for p in (path, url)
  ]
  assert sources[0].names == sources[1].names
  indices = np.arange(len(sources[0]))
  assert_equal(sources[1].read(indices), sources[0].read(indices))
  with pytest.raises(UsageError, match=r"/x-002\.tar does not exist"):
    create_source(
      "webdataset", path=f"{url}/train/x-00{{1..2}}.tar", image_size=8
    )


def test_tfds(tmp_path, upload):
  local = write_tfds(tmp_path / "tfds").parents[1]
  url = upload(local)
  settings = dict(dataset="cifar10", image_size=4)
  command = f"python -m get_jax.data.prepare cifar10 --data_dir={url}"
  with pytest.raises(UsageError, match=command):
    create_source("tfds", data_dir=url, **settings)
  for folder in (str(local), url):
    assert prepare.main(["cifar10", f"--data_dir={folder}"]) == 0
  for split, count in (("train", 5), ("train[1:4]", 3)):
    sources = [
      create_source("tfds", data_dir=folder, split=split, **settings)
      for folder in (str(local), url)
    ]
    assert len(sources[1]) == count
    expected = sources[0].read(np.arange(count))
    copy = pickle.loads(pickle.dumps(sources[1]))
    assert_equal(copy.read(np.arange(count)), expected)
    assert describe_content(sources[0]) == describe_content(sources[1])


@pytest.fixture
def pairs(tmp_path):
  info = PairsInfo(10, 0, (8, 8, 3), "float16", 3, "", {}, 4)
  writer, rng = PairsWriter(tmp_path / "pairs", info), np.random.RandomState(0)
  for shard in writer.missing():
    count = len(info.shard_range(shard))
    images = rng.uniform(-1, 1, (count, 8, 8, 3))
    writer.write_pairs(shard, images, rng.randint(3, size=count))
  return tmp_path / "pairs"


@pytest.mark.parametrize("verify", [True, False])
def test_shards(pairs, upload, verify):
  local, remote = PairsSource(pairs), PairsSource(upload(pairs), verify)
  indices = np.array([9, 0, 3, 4, 4, 8])
  expected = local.read(indices)
  for source in (remote, pickle.loads(pickle.dumps(remote))):
    assert_equal(source.read(indices), expected)
  assert describe_content(local) == describe_content(remote)


def test_faults_of_shards(pairs, upload, bucket_server):
  url = upload(pairs)
  prefix = url.split("/", 3)[3]
  whole = (pairs / "00000.image.npy").read_bytes()
  damaged = whole[:-1] + bytes([whole[-1] ^ 1])
  bucket_server.put(f"{prefix}/00000.image.npy", damaged)
  bucket_server.put(f"{prefix}/00001.image.npy", whole[:-5])
  bucket_server.delete(f"{prefix}/00002.json")
  with pytest.raises(UsageError, match="image.npy is damaged.*--mode=pairs"):
    PairsSource(url)
  layout = PairsSource(pairs).info.layout
  assert list(find_faults(url, layout)) == [
    f"{url}/00000.image.npy is damaged: its SHA-256 is not the one in "
    "00000.json",
    f"{url}/00001.image.npy is shorter than its {len(whole)} bytes",
    f"{url} lacks shard 2 of 3",
  ]


def test_images_to_measure(tmp_path, upload):
  np.savez(tmp_path / "a.npz", arr_0=PIXELS, arr_1=np.array(LABELS))
  for path in (tmp_path / "a.npz", write_zip(tmp_path / "b.zip")):
    local, remote = open_images(path), open_images(upload(path))
    assert (remote.name, remote.count) == (local.name, local.count)
    assert remote.names == local.names
    assert remote.digest() == local.digest()
    np.testing.assert_array_equal(remote.labels, local.labels)
  with pytest.raises(UsageError, match=r"no images at gs://.*/c\.npz"):
    open_images(upload(tmp_path / "a.npz").replace("a.npz", "c.npz"))


def test_checkpoints_and_captions(tmp_path, upload):
  tensors = {"a": np.arange(6.0).reshape(2, 3)}
  safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
  url = upload(tmp_path / "a.safetensors")
  assert_equal(read_checkpoint(url), tensors)
  with pytest.raises(
    UsageError, match="checkpoint file gs://.* does not exist"
  ):
    read_checkpoint(f"{url}x")
  (tmp_path / "c.jsonl").write_text('{"file_name": "a", "caption": "A cat."}')
  assert read_captions(upload(tmp_path / "c.jsonl")) == {"a": ["A cat."]}


def test_folders_of_files(tmp_path, upload):
  for name in ("vocab.json", "merges.txt", "model.bin"):
    path = tmp_path / "clip" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(name)
  folder = local_folder(upload(path.parent), {"vocab.json", "merges.txt"})
  assert (folder / "merges.txt").read_text() == "merges.txt"
  assert not (folder / "model.bin").exists()
  assert local_folder(path.parent) == path.parent


def test_a_large_file_is_read_in_order(tmp_path, upload, monkeypatch):
  monkeypatch.setattr("get_jax.storage.cache.BLOCK", 1000)
  monkeypatch.setattr("get_jax.storage.random_access.BLOCK", 1000)
  content = np.random.RandomState(0).bytes(123_456)
  (tmp_path / "x").write_bytes(content)
  file = open_file(upload(tmp_path / "x"))
  with file.open() as opened:
    digest = hashlib.file_digest(opened, "sha256").digest()
    assert digest == hashlib.sha256(content).digest()
    opened.seek(-5, os.SEEK_END)
    assert opened.read(9) == content[-5:]
    opened.seek(77)
    opened.seek(3, os.SEEK_CUR)
    assert (opened.tell(), opened.read(2)) == (80, content[80:82])


def test_a_replaced_object_is_noticed(tmp_path, upload, bucket_server):
  path = write_images(tmp_path / "data")
  url = upload(path)
  settings = dict(split="train", image_size=8)
  before = create_source("images", path=url, **settings)
  first = before.read(np.array([0]))["image"]
  prefix = url.split("/", 3)[3]
  for name in ("train/a/1.png", "train/a/4.png"):  # records 0 and 1
    other = (path / "train" / "b" / "2.png").read_bytes()
    bucket_server.put(f"{prefix}/{name}", other)
  # A new run reads what is there, and a run that has begun goes on with the
  # objects that it began with, or ends.
  after = create_source("images", path=url, **settings)
  assert (after.read(np.array([0]))["image"] != first).any()
  np.testing.assert_array_equal(before.read(np.array([0]))["image"], first)
  with pytest.raises(UsageError, match=r"a/4\.png was replaced or deleted"):
    before.read(np.array([1]))


def test_what_does_not_exist(bucket, tmp_path):
  def images(path):
    return create_source("images", path=path, image_size=8)

  with pytest.raises(UsageError, match=f"folder or zip {bucket}/no does not"):
    images(f"{bucket}/no")
  with pytest.raises(UsageError, match="gs://no-such-bucket"):
    images("gs://no-such-bucket/data")
  with pytest.raises(UsageError, match="expected a path on disk, gs://"):
    images("ftp://host/data")


@pytest.mark.parametrize("kind", [503, 429, "cut"])
def test_reads_survive_faults(kind, tmp_path, upload, bucket_server):
  path = write_images(tmp_path / "data")
  url = upload(path)
  expected = create_source(
    "images", path=str(path), split="train", image_size=8
  ).read(np.arange(7))
  with bucket_server.fault(kind, times=2, pattern="alt=media") as fault:
    source = create_source("images", path=url, split="train", image_size=8)
    assert_equal(source.read(np.arange(7)), expected)
  assert fault.hits == 2


def test_a_forbidden_object_is_one_sentence(tmp_path, upload, bucket_server):
  url = upload(write_images(tmp_path / "data"))
  source = create_source("images", path=url, split="train", image_size=8)
  with bucket_server.fault(403, pattern="alt=media"):
    with pytest.raises(UsageError, match="gs://"):
      source.read(np.arange(7))


def test_the_cache_is_on_a_local_disk(cache_folder, tmp_path, upload):
  url = upload(write_images(tmp_path / "data"))
  create_source("images", path=url, split="train", image_size=8).read(
    np.arange(7)
  )
  stored = [p for p in pathlib.Path(cache_folder).rglob("*") if p.is_file()]
  assert len(stored) == 7
