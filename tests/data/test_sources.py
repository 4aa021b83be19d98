"""Image files, EDM's zips and TFDS as data sources."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from get_jax.data import Pipeline, create_source
from get_jax.data.pixels import center_crop
from get_jax.data.random_bits import bernoulli, normal, randint, random_bits


def png(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels.squeeze()).save(file, "png")
  return file.getvalue()


PIXELS = np.random.RandomState(0).randint(0, 256, (6, 8, 8, 3), np.uint8)
FILES = {f"train/{'ab'[i % 2]}/{i}.png": png(p) for i, p in enumerate(PIXELS)}


@pytest.fixture(params=["folder", "stored", "deflated", "bzip2"])
def root(request, tmp_path):
  if request.param == "folder":
    for name, content in FILES.items():
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes(content)
    return tmp_path
  methods = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
  }
  with zipfile.ZipFile(tmp_path / "x.zip", "w", methods[request.param]) as file:
    for name, content in FILES.items():
      file.writestr(name, content)
  return tmp_path / "x.zip"


def test_images_by_class(root):
  source = create_source("images", path=root, split="train", image_size=8)
  assert (len(source), source.num_classes) == (6, 2)
  records = pickle.loads(pickle.dumps(source)).read(np.arange(6))
  np.testing.assert_array_equal(records["label"], [0, 0, 0, 1, 1, 1])
  pixels = np.round((records["image"] + 1) * 127.5)
  np.testing.assert_array_equal(pixels, PIXELS[[0, 2, 4, 1, 3, 5]])


def test_center_crop_halves_scales_and_cuts():
  rng = np.random.RandomState(0)
  pixels = rng.randint(0, 256, (8, 18, 3), np.uint8)
  # The short side is halved by averaging; four of nine columns are cut out.
  blocks = pixels.reshape(4, 2, 9, 2, 3).astype(float).mean((1, 3))
  found = center_crop(pixels, 4)
  assert found.shape == (4, 4, 3)
  # Pillow rounds rows and columns one after the other.
  assert np.abs(found - blocks[:, 2:6]).max() <= 1
  # 7 is less than twice 4: bicubic alone, so that means are not met.
  assert center_crop(pixels[:7, :7], 4).shape == (4, 4, 3)
  assert center_crop(pixels[:3, :5, :1], 6).shape == (6, 6, 1)
  same = pixels[:, :8]
  assert center_crop(same, 8) is same


def test_flips_depend_on_seed_and_position(root):
  settings = dict(path=root, split="train", image_size=8)
  plain = create_source("images", **settings).read(np.arange(6))["image"]
  source = create_source("images", **settings, flip=True)
  np.testing.assert_array_equal(source.read(np.arange(6))["image"], plain)
  bits = random_bits(0, np.arange(6))
  found = source.read(np.arange(6), bits)["image"]
  for flipped, image, original in zip(
    bernoulli(bits), found, plain, strict=True
  ):
    expected = original[:, ::-1] if flipped else original
    np.testing.assert_array_equal(image, expected)
  assert 0 < bernoulli(bits).sum() < 6


def test_hosts_workers_and_restarts_see_the_same_flips(root):
  source = create_source(
    "images", path=root, split="train", image_size=8, flip=True
  )
  whole = Pipeline(source, 4, seed=1)
  for count in (2, 4):
    shares = np.split(np.arange(4), count)
    hosts = [Pipeline(source, 4, 1, rows) for rows in shares]
    together = np.concatenate([h.batch(5)["image"] for h in hosts])
    np.testing.assert_array_equal(together, whole.batch(5)["image"])


def test_worker_processes_read_the_same(tmp_path):
  path = tmp_path / "x.zip"
  with zipfile.ZipFile(path, "w") as file:
    for name, content in FILES.items():
      file.writestr(name, content)
  source = create_source("images", path=path, split="train", image_size=8)
  pipeline = Pipeline(source, 2, seed=1, workers=1)
  for step, batch in enumerate(pipeline.batches(2, 5), 2):
    np.testing.assert_array_equal(batch["image"], pipeline.batch(step)["image"])


def test_a_damaged_image_is_reported(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "0.png").write_bytes(png(PIXELS[0])[:-40])
  source = create_source("images", path=tmp_path, image_size=8)
  with pytest.raises(ValueError, match=r"a/0\.png cannot be read as an image"):
    list(Pipeline(source, 1, 0).batches(0, 1))


def test_a_damaged_zip_entry_is_reported(tmp_path):
  path = tmp_path / "x.zip"
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("a/0.png", png(PIXELS[0]))
  content = bytearray(path.read_bytes())
  content[120] ^= 1
  path.write_bytes(content)
  source = create_source("images", path=path, image_size=8)
  with pytest.raises(ValueError, match=r"a/0\.png cannot be read: its checksu"):
    source.read(np.arange(1))


def test_missing_data_is_reported(tmp_path):
  with pytest.raises(ValueError, match="folder or zip .* does not exist"):
    create_source("images", path=tmp_path / "no", image_size=8)
  with pytest.raises(ValueError, match="contains no image files"):
    create_source("images", path=tmp_path, image_size=8)
  (tmp_path / "0.png").write_bytes(png(PIXELS[0]))
  with pytest.raises(ValueError, match=r"0\.png is in no class folder"):
    create_source("images", path=tmp_path, image_size=8)
  free = create_source("images", path=tmp_path, image_size=8, labels=False)
  assert "label" not in free.read(np.arange(1))


def edm(path, labels, pixels=PIXELS):
  names = [f"00000/img{i:08d}.png" for i in range(len(pixels))]
  with zipfile.ZipFile(path, "w") as file:
    for name, image in zip(names, pixels, strict=True):
      file.writestr(name, png(image))
    listed = labels and [list(x) for x in zip(names, labels, strict=True)]
    file.writestr("dataset.json", json.dumps({"labels": listed}))


def test_edm_zip(tmp_path):
  path = tmp_path / "edm.zip"
  edm(path, [3, 1, 0, 2, 1, 1])
  source = create_source("edm_zip", path=path)
  assert source.num_classes == 4
  assert source.image_shape == (8, 8, 3)
  records = source.read(np.array([5, 0]))
  np.testing.assert_array_equal(records["label"], [1, 3])
  edm(path, None, PIXELS[..., :1])
  source = create_source("edm_zip", path=path)
  assert source.num_classes is None
  assert source.image_shape == (8, 8, 1)
  edm(path, [[0.5, 1.0]] * 6)
  with pytest.raises(ValueError, match="labels that are no class numbers"):
    create_source("edm_zip", path=path)


def test_tfds_is_read_without_tensorflow():
  import sys

  import tensorflow_datasets as tfds

  with tfds.testing.mock_data(num_examples=12):
    source = create_source("tfds", dataset="cifar10", image_size=16)
    assert source.num_classes == 10
    records = source.read(np.array([3, 1]))
  assert records["image"].shape == (2, 16, 16, 3)
  assert records["label"].dtype == np.int32
  assert "tensorflow" not in sys.modules


def test_tfds_message_has_the_command_to_prepare(tmp_path):
  settings = dict(image_size=32, data_dir=str(tmp_path))
  command = "python -m get_jax.data.prepare cifar10 --data_dir="
  with pytest.raises(ValueError, match=f"is not prepared in .*{command}"):
    create_source("tfds", dataset="cifar10", **settings)
  with pytest.raises(ValueError, match="no data set 'cifar9'"):
    create_source("tfds", dataset="cifar9", **settings)


def test_random_bits_are_uniform_and_independent():
  bits = random_bits(3, np.arange(20_000))
  assert len(np.unique(bits)) == len(bits)
  assert abs(bernoulli(bits).mean() - 0.5) < 0.02
  counts = np.bincount(randint(bits, np.full(len(bits), 5)))
  assert counts.min() > 3700
  assert len(counts) == 5
  assert (random_bits(4, np.arange(100)) != bits[:100]).all()
  noise = normal(bits[:50], (8, 8, 4))
  assert abs(noise.mean()) < 0.05
  assert abs(noise.std() - 1) < 0.05
