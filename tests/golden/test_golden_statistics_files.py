"""Files of the evaluators in the wild: references and sample batches."""

import numpy as np
import pytest
from cases import cases

from get_jax import evaluation
from get_jax.data import open_images
from get_jax.errors import UsageError


def holds(*names):
  """Returns a predicate of the files that hold just these arrays."""
  return lambda case: case.names == set(names)


def extractor_of(case):
  """An extractor of as many features as the statistics have."""
  dim = len(case.arrays["mu"])

  def leading(images):
    return np.asarray(images, np.float32).reshape(len(images), -1)[:, :dim]

  return evaluation.CallableExtractor(leading, "leading", dim)


@cases(
  "metrics/formats/*.npz", holds("arr_0", "mu", "sigma", "mu_s", "sigma_s")
)
def test_adm_reference_batch(case):
  extractor, arrays = extractor_of(case), case.arrays
  got = evaluation.read_reference(
    case.path, extractor, keep_features=True
  ).summary
  np.testing.assert_array_equal(got.statistics.mean, arrays["mu"])
  np.testing.assert_array_equal(got.statistics.covariance, arrays["sigma"])
  spatial = got.spatial_statistics
  np.testing.assert_array_equal(spatial.mean, arrays["mu_s"])
  np.testing.assert_array_equal(spatial.covariance, arrays["sigma_s"])
  features = extractor(arrays["arr_0"])[0]
  np.testing.assert_array_equal(got.features, features)


@cases("metrics/formats/*.npz", holds("mu", "sigma"))
def test_mean_and_covariance_alone(case):
  extractor = extractor_of(case)
  got = evaluation.read_reference(case.path, extractor).summary
  np.testing.assert_array_equal(got.statistics.mean, case.arrays["mu"])
  np.testing.assert_array_equal(got.statistics.covariance, case.arrays["sigma"])
  assert got.spatial_statistics is None and got.statistics.count is None
  with pytest.raises(UsageError, match="precision, recall and KID need"):
    evaluation.read_reference(case.path, extractor, keep_features=True)


@cases(
  "metrics/formats/*.npz",
  lambda case: "arr_0" in case.names and "mu" not in case.names,
)
def test_adm_sample_batch(case):
  images = open_images(case.path)
  np.testing.assert_array_equal(
    np.concatenate(list(images.batches(3))), case.arrays["arr_0"]
  )
  if "arr_1" in case.names:
    np.testing.assert_array_equal(images.labels, case.arrays["arr_1"])
  else:
    assert images.labels is None
