"""Files of the evaluators in the wild: references and sample batches."""

import numpy as np
import pytest

from get_jax import evaluation
from get_jax.data import open_images
from get_jax.errors import UsageError


@pytest.fixture
def formats(golden_dir):
  return golden_dir / "metrics" / "formats"


def sixteen(images):
  return np.asarray(images, np.float32).reshape(len(images), -1)[:, :16]


EXTRACTOR = evaluation.CallableExtractor(sixteen, "sixteen", 16)


def test_adm_reference_batch(formats):
  path = formats / "adm_reference_batch.npz"
  found = evaluation.read_reference(path, EXTRACTOR, keep_features=True).summary
  with np.load(path) as file:
    np.testing.assert_array_equal(found.statistics.mean, file["mu"])
    np.testing.assert_array_equal(found.statistics.covariance, file["sigma"])
    np.testing.assert_array_equal(found.spatial_statistics.mean, file["mu_s"])
    np.testing.assert_array_equal(
      found.spatial_statistics.covariance, file["sigma_s"]
    )
    np.testing.assert_array_equal(found.features, sixteen(file["arr_0"]))


def test_mean_and_covariance_alone(formats):
  path = formats / "mu_sigma_stats.npz"
  found = evaluation.read_reference(path, EXTRACTOR).summary
  assert found.spatial_statistics is None and found.statistics.count is None
  with pytest.raises(UsageError, match="precision, recall and KID need"):
    evaluation.read_reference(path, EXTRACTOR, keep_features=True)


@pytest.mark.parametrize("labelled", [False, True])
def test_adm_sample_batch(formats, labelled):
  name = f"adm_sample_batch{'_labelled' * labelled}.npz"
  images = open_images(formats / name)
  with np.load(formats / name) as file:
    np.testing.assert_array_equal(
      np.concatenate(list(images.batches(3))), file["arr_0"]
    )
    if labelled:
      np.testing.assert_array_equal(images.labels, file["arr_1"])
  assert (images.labels is not None) == labelled
