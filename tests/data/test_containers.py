"""WebDataset, Hugging Face and ArrayRecord hold the records of a folder."""

import pickle

import numpy as np
import pytest

from get_jax.data import Pipeline, create_source
from get_jax.errors import UsageError
from tests.data_sets import (
  IMAGES,
  LABELS,
  NAMES,
  PIXELS,
  WRITERS,
  example,
  tar,
  write_array_records,
  write_arrow,
  write_webdataset,
)


@pytest.fixture(params=WRITERS)
def settings(request, tmp_path, monkeypatch):
  monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
  name, write = WRITERS[request.param]
  path = write(tmp_path / "data")
  return dict(name=name, path=str(path), split="train", image_size=8)


def test_records_by_index(settings):
  source = create_source(**settings)
  assert (len(source), source.num_classes) == (7, 3)
  assert source.image_shape == (8, 8, 3)
  indices = np.array([6, 0, 3, 3])
  for copy in (source, pickle.loads(pickle.dumps(source))):
    records = copy.read(indices)
    pixels = np.round((records["image"] + 1) * 127.5)
    np.testing.assert_array_equal(pixels, PIXELS[indices])
    assert records["label"].dtype == np.int32
    np.testing.assert_array_equal(records["label"], np.take(LABELS, indices))
  summary = source.summary()
  assert list(summary["classes"].values()) == [2, 2, 3]
  free = create_source(**settings, labels=False)
  assert free.num_classes is None
  assert list(free.read(indices)) == ["image"]


def test_resuming_reads_the_same_batches(settings):
  whole = Pipeline(create_source(**settings, flip=True), 4, seed=3)
  expected = [whole.batch(step)["image"] for step in range(6)]
  resumed = Pipeline(create_source(**settings, flip=True), 4, seed=3)
  for step, batch in enumerate(resumed.batches(2, 6), 2):
    np.testing.assert_array_equal(batch["image"], expected[step])


@pytest.mark.parametrize("name", ["webdataset", "array_record", "parquet"])
def test_worker_processes_read_the_same(name, tmp_path):
  kind, write = WRITERS[name]
  path = write(tmp_path / "data")
  source = create_source(kind, path=str(path), split="train", image_size=8)
  pipeline = Pipeline(source, 3, seed=1, workers=1)
  for step, batch in enumerate(pipeline.batches(1, 3), 1):
    np.testing.assert_array_equal(batch["image"], pipeline.batch(step)["image"])


def test_another_number_of_classes(settings):
  assert create_source(**settings, num_classes=5).num_classes == 5
  with pytest.raises(
    UsageError, match=r"has 3 classes; data\.num_classes is 2"
  ):
    create_source(**settings, num_classes=2)


def webdataset(path, **settings):
  return create_source("webdataset", path=str(path), image_size=8, **settings)


def test_patterns_of_tar_files(tmp_path):
  folder = write_webdataset(tmp_path) / "train"
  assert len(webdataset(folder / "x-{000..001}.tar")) == 7
  assert len(webdataset(folder / "x-*.tar")) == 7
  assert len(webdataset(folder / "x-001.tar")) == 4
  source = webdataset(tmp_path)
  assert source.names[:2] == ["part.1/000.PNG", "part.1/001.PNG"]
  assert source.summary()["skipped"] == {
    "hidden": 4,
    ".seg.png": 7,
    ".pyd": 7,
  }
  with pytest.raises(UsageError, match=r"x-002\.tar does not exist"):
    webdataset(folder / "x-{000..002}.tar")
  with pytest.raises(UsageError, match="contains no tar file"):
    webdataset(tmp_path, split="test")


def test_names_of_classes_in_tar_files(tmp_path):
  words = [NAMES[i] for i in LABELS]
  source = webdataset(
    write_webdataset(tmp_path, words, "kind"), label_key="kind"
  )
  assert source.classes == list(NAMES)
  np.testing.assert_array_equal(source.labels, LABELS)


@pytest.mark.parametrize(
  "files, message",
  [
    ({"0.png": b"", "1.png": b"", "1.cls": b"0"}, "has no label of 0.png"),
    ({"0.png": b"", "0.jpg": b"", "0.cls": b"0"}, "two images of one sample"),
    ({"0.txt": b"", "0.cls": b"0"}, "contain no images"),
    ({"0.png": b"", "0.cls": b"-1", "1.png": b"", "1.cls": b"2"}, "label '-1'"),
    ({"0.png": b"", "0.json": b"{"}, "0.json is damaged"),
    ({"0.png": b"", "0.json": b"[]"}, "0.json is damaged"),
  ],
)
def test_wrong_samples_are_refused(tmp_path, files, message):
  tar(tmp_path / "x.tar", files)
  with pytest.raises(UsageError, match=message):
    webdataset(tmp_path)


def test_damaged_tar_files_are_refused(tmp_path):
  path = write_webdataset(tmp_path) / "train" / "x-001.tar"
  content = path.read_bytes()
  message = r"x-001\.tar cannot be read as a tar file"
  ends = [content.rindex(b"part.1/006.cls"), len(content) // 2 // 512 * 512]
  for end in (*ends, 700, 100):
    path.write_bytes(content[:end])
    with pytest.raises(UsageError, match=message):
      webdataset(path)
  import gzip

  path.write_bytes(gzip.compress(content))
  with pytest.raises(UsageError, match=f"{message}.*not compressed"):
    webdataset(path)


def array_record(path, **settings):
  return create_source("array_record", path=str(path), image_size=8, **settings)


def test_array_records_of_other_features(tmp_path):
  records = [
    example(image__encoded=x, image__class__label=y)
    for x, y in zip(IMAGES, LABELS, strict=True)
  ]
  source = array_record(write_array_records(tmp_path / "a", records))
  np.testing.assert_array_equal(source.labels, LABELS)
  records = [
    example(photo=x, name=NAMES[y].encode())
    for x, y in zip(IMAGES, LABELS, strict=True)
  ]
  path = write_array_records(tmp_path / "b", records)
  source = array_record(path, image_key="photo", label_key="name")
  assert source.classes == list(NAMES)
  np.testing.assert_array_equal(source.labels, LABELS)
  with pytest.raises(
    UsageError, match=r"\['name', 'photo'\]; expected a label"
  ):
    array_record(path)
  free = array_record(path, labels=False)
  with pytest.raises(UsageError, match="expected an encoded image in image or"):
    free.read(np.arange(1))


def test_array_records_of_images_alone(tmp_path):
  path = write_array_records(tmp_path / "a", IMAGES)
  records = array_record(path, labels=False).read(np.array([4]))
  np.testing.assert_array_equal(
    np.round((records["image"] + 1) * 127.5), PIXELS[[4]]
  )
  with pytest.raises(UsageError, match="expected a label"):
    array_record(path)


def test_damaged_array_records_are_refused(tmp_path):
  path = tmp_path / "x.array_record"
  path.write_bytes(b"junk" * 100)
  with pytest.raises(UsageError, match="cannot be read as ArrayRecord"):
    array_record(path)


def test_splits_and_columns_of_hugging_face(tmp_path, monkeypatch):
  monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
  path = write_arrow(tmp_path / "arrow")

  def source(path=path, **settings):
    settings = dict(split="train", image_size=8) | settings
    return create_source("hugging_face", path=str(path), **settings)

  assert source().classes == list(NAMES)
  with pytest.raises(UsageError, match="split is ''; expected .*: test, train"):
    source(split="")
  with pytest.raises(UsageError, match="columns picture, kind; expected photo"):
    source(image_key="photo")
  with pytest.raises(UsageError, match="expected sort .data.label_key"):
    source(label_key="sort")
  with pytest.raises(UsageError, match="does not exist; expected a data set"):
    source(tmp_path / "nowhere")
  (tmp_path / "empty").mkdir()
  with pytest.raises(
    UsageError, match="cannot be read as a data set of Huggin"
  ):
    source(tmp_path / "empty")


def test_hugging_face_needs_its_extra(tmp_path, monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  with pytest.raises(UsageError, match=r"pip install 'get_jax\[hf\]'"):
    create_source("hugging_face", path=str(tmp_path), image_size=8)
