"""Images that cannot be decoded: counted, named, or left out."""

import numpy as np
import pytest
from PIL import Image

from get_jax.data import Pipeline, create_source, open_images
from get_jax.errors import UsageError

BROKEN = [1, 4, 5, 8]


@pytest.fixture
def root(tmp_path):
  """Ten images in two classes, four of them broken."""
  for i in range(10):
    path = tmp_path / "x" / "ab"[i // 5] / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(i).randint(0, 256, (8, 8, 3), np.uint8)
    pixels[0, 0] = i
    Image.fromarray(pixels).save(path)
    if i in BROKEN:
      content = path.read_bytes()
      broken = {1: content[:-40], 4: b"", 5: b"junk", 8: content[:20]}
      path.write_bytes(broken[i])
  return tmp_path / "x"


def source(root, **settings):
  return create_source("images", path=root, image_size=8, **settings)


def test_the_message_counts_them_and_names_three(root):
  data = source(root)
  sentence = (
    r"/b/5\.png cannot be read as an image \(.*\); 4 of the 10 images of .* "
    r"are broken \(a/1\.png, a/4\.png, b/5\.png, \.\.\.\); expected whole "
    r"images, or data\.skip_broken=True and a new workdir to leave them out$"
  )
  with pytest.raises(UsageError, match=sentence):
    data.read(np.array([5]))
  with pytest.raises(ValueError, match="4 of the 10 images"):
    list(Pipeline(data, 10, 0).batches(0, 1))
  with pytest.raises(UsageError, match="4 of the 10 .* whole images$"):
    list(open_images(root).batches(4))


def test_counting_ends_after_a_while(root, monkeypatch):
  monkeypatch.setattr("get_jax.data.image_reader.COUNTING_LIMIT", -1)
  with pytest.raises(UsageError, match=r"1 of the 10 .*\(b/8.png\)"):
    source(root).read(np.array([8]))


def test_they_are_left_out(root):
  data = source(root, skip_broken=True)
  whole = [i for i in range(10) if i not in BROKEN]
  assert data.names == [f"{'ab'[i // 5]}/{i}.png" for i in whole]
  assert len(data) == 6
  records = data.read(np.arange(6))
  first = np.round((records["image"][:, 0, 0, 0] + 1) * 127.5)
  np.testing.assert_array_equal(first, whole)
  assert records["label"].tolist() == [0, 0, 0, 1, 1, 1]
  summary = data.summary()
  assert summary["images"] == 6
  assert list(summary["broken"]) == [f"{'ab'[i // 5]}/{i}.png" for i in BROKEN]
  assert summary["classes"] == {"a": 3, "b": 3}


def test_the_fingerprint_tells_what_was_left_out(root):
  first = source(root, skip_broken=True).fingerprint
  assert first == source(root, skip_broken=True).fingerprint
  (root / "a" / "0.png").rename(root / "a" / "4.png")
  second = source(root, skip_broken=True).fingerprint
  assert first != second
  assert source(root).fingerprint not in (first, second)


def test_a_class_of_broken_images_keeps_its_number(root):
  for path in (root / "a").iterdir():
    path.write_bytes(b"")
  data = source(root, skip_broken=True)
  assert data.num_classes == 2
  assert set(data.labels.tolist()) == {1}
  assert data.summary()["classes"] == {"a": 0, "b": 3}


def test_all_are_broken(root):
  for path in root.rglob("*.png"):
    path.write_bytes(b"junk")
  with pytest.raises(UsageError, match="all 10 images of .* are broken"):
    source(root, skip_broken=True)


def test_a_missing_file_is_a_broken_one(root):
  data = source(root)
  (root / "a" / "0.png").unlink()
  with pytest.raises(UsageError, match=r"a/0\.png does not exist; 5 of the 10"):
    data.read(np.array([0]))
