"""The collected inputs that were read wrongly once.

Skipped where `../shared/cases` does not exist.
"""

import pathlib

import numpy as np
import pytest

from get_jax.data import create_source, open_images
from get_jax.errors import UsageError

CASES = pathlib.Path(__file__).parents[3] / "shared" / "cases" / "images"
EXPECTED = ".expected.npy"
decoded = sorted(CASES.rglob(f"*{EXPECTED}"))

pytestmark = pytest.mark.skipif(
  not CASES.is_dir(), reason="no inputs at ../shared/cases"
)


def source(name, **settings):
  return create_source("images", path=CASES / name, image_size=8, **settings)


@pytest.mark.parametrize("path", decoded, ids=lambda p: p.name)
def test_pixels(path):
  expected = np.load(path).astype(int)
  height, width, _ = expected.shape
  name = path.name.removesuffix(EXPECTED)
  atol = 3 if name.lower().endswith((".jpg", ".jpeg")) else 0
  settings = dict(image_size=(height, width), labels=False)
  data = create_source("images", path=path.parent, **settings)
  pixels = data.pixels(data.names.index(name)).astype(int)
  np.testing.assert_allclose(pixels, expected, atol=atol)


def test_every_usual_ending():
  data = source("endings")
  files = [p for p in (CASES / "endings").rglob("*") if p.is_file()]
  assert len(data) == len(files)
  assert data.classes == ["a"]
  assert len(data.read(np.arange(len(data)))["image"]) == len(files)


@pytest.mark.parametrize("name", ["junk", "zips/top_folder.zip"])
def test_system_folders_and_top_folders(name):
  data = source(name)
  assert data.classes == ["cats", "dogs"]
  assert data.labels.tolist() == [0] * 3 + [1] * 3
  (batch,) = open_images(CASES / name).batches(10)
  assert batch.shape == (6, 8, 8, 3)


def test_an_empty_class_is_named():
  with pytest.raises(UsageError, match="empty_class/birds contains no images"):
    source("empty_class")
