"""Reads all of CIFAR-10 from image files, re-encoded as JPEG.

Skipped where `../shared/data` does not exist.
"""

import pathlib

import numpy as np
import pytest

from configs import edm_cifar10_cond_vp
from get_jax.builders.data import build_source
from get_jax.data import Pipeline, create_source

ZIP = pathlib.Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.zip"
# Published statistics of the training set.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)

pytestmark = pytest.mark.skipif(
  not ZIP.is_file(), reason="no CIFAR-10 at ../shared/data/cifar10-jpeg.zip"
)


def source(**settings):
  return create_source(
    "dataset", dataset="cifar10", image_size=32, path=str(ZIP), **settings
  )


@pytest.mark.parametrize("split, count", [("train", 50_000), ("test", 10_000)])
def test_classes(split, count):
  found = source(split=split)
  assert len(found) == count
  assert found.image_shape == (32, 32, 3)
  assert found.num_classes == 10
  assert np.bincount(found.labels).tolist() == [count // 10] * 10
  folders = [name.split("/")[0] for name in found.names]
  classes = sorted(set(folders))
  assert classes == [
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
  ]  # fmt: skip
  assert [classes[label] for label in found.labels] == folders


def test_pixels():
  """A tenth of the training set has the statistics of the whole."""
  found = source()
  images = found.read(np.arange(0, len(found), 10))["image"]
  assert images.dtype == np.float32
  assert images.min() == -1 and images.max() == 1
  share = (images + 1) / 2
  np.testing.assert_allclose(share.mean((0, 1, 2)), MEAN, atol=5e-3)
  np.testing.assert_allclose(share.std((0, 1, 2)), STD, atol=5e-3)
  levels = share * 255
  np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
  assert len({image.tobytes() for image in images}) > 4_990


def test_an_experiment_reads_it_from_data_path():
  config = edm_cifar10_cond_vp.get_config()
  config.data.path = str(ZIP)
  pipeline = Pipeline(build_source(config), 64, config.seed)
  batch = pipeline.batch(3)
  assert batch["image"].shape == (64, 32, 32, 3)
  assert len(set(batch["label"].tolist())) == 10
  for step, ahead in enumerate(pipeline.batches(3, 5), 3):
    np.testing.assert_array_equal(ahead["label"], pipeline.batch(step)["label"])
