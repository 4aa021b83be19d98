"""Images opened for evaluation: an npz, a zip or a folder."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from get_jax.data import create_source, open_images
from get_jax.errors import UsageError


@pytest.fixture(scope="module")
def pictures():
  return np.random.default_rng(0).integers(0, 256, (11, 5, 4, 3), np.uint8)


@pytest.fixture
def image_files(pictures, tmp_path):
  """The same images as an npz, a folder and a zip."""
  np.savez(tmp_path / "samples.npz", arr_0=pictures, arr_1=np.arange(11))
  with zipfile.ZipFile(tmp_path / "samples.zip", "w") as archive:
    for i, image in enumerate(pictures):
      file = tmp_path / "folder" / f"{i % 3}" / f"{i:02d}.png"
      file.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image).save(file)
      archive.write(file, f"{i:02d}.png")
    archive.writestr("dataset.json", "{}")
  return tmp_path


@pytest.mark.parametrize("name", ["samples.npz", "samples.zip", "folder"])
def test_images_of_every_format(image_files, pictures, name):
  images = open_images(image_files / name)
  assert images.count == 11 and images.name == name
  order = np.argsort(np.arange(11) % 3, kind="stable")
  expected = pictures[order] if name == "folder" else pictures
  parts = list(images.batches(4))
  assert [len(part) for part in parts] == [4, 4, 3]
  np.testing.assert_array_equal(np.concatenate(parts), expected)
  if name == "folder":
    subset = open_images(image_files / name, within="1")
    assert subset.names == ("1/01.png", "1/04.png", "1/07.png", "1/10.png")
    assert subset.name == "folder/1"
    (images_of_1,) = subset.batches(9)
    np.testing.assert_array_equal(images_of_1, pictures[1::3])
  whole = open_images(image_files / "samples.npz")
  assert (images.digest() == whole.digest()) == (name != "folder")
  if name == "samples.npz":
    np.testing.assert_array_equal(images.labels, np.arange(11))


def test_grey_images(tmp_path):
  Image.fromarray(np.full((3, 2), 7, np.uint8)).save(tmp_path / "a.png")
  (grey,) = open_images(tmp_path, channels=1).batches(8)
  assert grey.shape == (1, 3, 2, 1)
  (colour,) = open_images(tmp_path).batches(8)
  np.testing.assert_array_equal(colour, np.full((1, 3, 2, 3), 7))


def test_messages_of_invalid_images(tmp_path, pictures):
  def check_refused(sentence, name, **options):
    with pytest.raises(UsageError, match=sentence):
      list(open_images(tmp_path / name, **options).batches(4))

  check_refused("expected an .npz, a .zip or a folder", "nowhere")
  (tmp_path / "junk.npz").write_bytes(b"junk")
  check_refused("is neither a folder nor", "junk.npz")
  np.savez(tmp_path / "keys.npz", images=pictures)
  check_refused(r"holds the keys \['images'\], expected 'arr_0'", "keys.npz")
  np.savez(tmp_path / "type.npz", arr_0=pictures / 255)
  check_refused("'arr_0' of .* is float64", "type.npz")
  (tmp_path / "empty").mkdir()
  check_refused("contains no image files; expected some of", "empty")
  (tmp_path / "mixed").mkdir()
  Image.fromarray(pictures[0]).save(tmp_path / "mixed" / "a.png")
  check_refused("of mode RGB, expected grey", "mixed", channels=1)
  Image.fromarray(pictures[0, :3]).save(tmp_path / "mixed" / "b.png")
  check_refused("b.png is 3x4 pixels, expected 5x4 like a.png", "mixed")
  (tmp_path / "mixed" / "b.png").write_bytes(b"junk")
  check_refused("b.png cannot be read as an image", "mixed")


def test_training_and_evaluation_list_and_decode_the_same_files(tmp_path):
  """Endings of either case are images; other files are not."""
  pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
  names = ["a.png", "b.PPM", "c.Bmp", "d.WEBP"]
  for name, image in zip(names, pixels, strict=True):
    options = {"lossless": True} if name.endswith("WEBP") else {}
    Image.fromarray(image).save(tmp_path / name, **options)
  (tmp_path / "readme.txt").write_text("no image")
  images = open_images(tmp_path)
  source = create_source("images", path=tmp_path, image_size=8, labels=False)
  assert list(images.names) == source.names == names
  (batch,) = images.batches(4)
  np.testing.assert_array_equal(batch, pixels)
  records = source.read(np.arange(4))["image"]
  np.testing.assert_array_equal(np.round((records + 1) * 127.5), pixels)
