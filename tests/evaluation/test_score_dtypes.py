"""Features and images of every dtype, and JAX's modes."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.evaluation import to_uint8
from get_jax.evaluation.extractors.preprocessing import (
  PREPROCESSINGS,
  preprocess,
)
from get_jax.evaluation.scores.classifier_scores import inception_score
from get_jax.evaluation.scores.frechet import frechet_distance
from get_jax.evaluation.scores.kid import squared_mmd
from get_jax.evaluation.scores.precision_recall import (
  precision_recall,
  squared_radii,
)
from get_jax.evaluation.statistics import GaussianStatistics

DTYPES = ("int32", "bfloat16", "float16", "float32", "float64")
RNG = np.random.default_rng(0)
# Integers that every dtype represents exactly.
SAMPLES = RNG.integers(-8, 9, (40, 5))
REFERENCE = RNG.integers(-8, 9, (30, 5))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores(dtype):
  samples, reference = (a.astype(dtype) for a in (SAMPLES, REFERENCE))
  statistics = GaussianStatistics.from_features(samples)
  wide = SAMPLES.astype(np.float64)
  np.testing.assert_allclose(statistics.mean, wide.mean(0), rtol=1e-12)
  np.testing.assert_allclose(
    statistics.covariance, np.cov(wide, rowvar=False), rtol=1e-12
  )
  other = GaussianStatistics.from_features(reference)
  exact = [
    GaussianStatistics.from_features(a.astype(np.float64))
    for a in (SAMPLES, REFERENCE)
  ]
  assert frechet_distance(statistics, other) == frechet_distance(*exact)
  assert squared_mmd(samples, reference) == squared_mmd(SAMPLES, REFERENCE)
  assert inception_score(samples, splits=2) == inception_score(
    SAMPLES, splits=2
  )


@pytest.mark.parametrize("mode", ["default", "rank", "dtype", "64 bits"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_precision_and_recall(dtype, mode):
  def inside(points, manifold):
    own = ((manifold[:, None] - manifold[None]) ** 2).sum(-1)
    radii = np.sort(own, axis=1)[:, 3]
    distances = ((points[:, None] - manifold[None]) ** 2).sum(-1)
    return radii, (distances <= radii[None]).any(axis=1).mean()

  context = {
    "default": contextlib.nullcontext,
    "rank": lambda: jax.numpy_rank_promotion("raise"),
    "dtype": lambda: jax.numpy_dtype_promotion("strict"),
    "64 bits": lambda: jax.enable_x64(True),
  }[mode]
  samples, reference = (a.astype(dtype) for a in (SAMPLES, REFERENCE))
  with context():
    found = precision_recall(samples, reference)
    half = precision_recall(samples, reference, half_precision=True)
    radii = squared_radii(reference)
  expected_radii, precision = inside(SAMPLES, REFERENCE)
  recall = inside(REFERENCE, SAMPLES)[1]
  # Small integers: also float16 is exact.
  np.testing.assert_allclose(half, (precision, recall), atol=1e-6)
  np.testing.assert_allclose(found, (precision, recall), atol=0.051)
  np.testing.assert_allclose(radii, expected_radii, rtol=1e-5)
  assert radii.dtype == np.float32


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_quantization(dtype):
  values = np.array([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5]).astype(dtype)
  exact = np.clip(127.5 * values.astype(np.float64) + 128, 0, 255)
  np.testing.assert_array_equal(to_uint8(values), exact.astype(np.uint8))


def test_quantization_of_float64_is_not_rounded_first():
  """A value just below a level stays below it."""
  below = np.array([(200 - 1e-9 - 128) / 127.5])
  assert to_uint8(below) == 199
  assert to_uint8(below.astype(np.float32)) == 200


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_preprocessing_promotes_nothing(name):
  images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.uint8)
  for mode in (
    jax.numpy_rank_promotion("raise"),
    jax.numpy_dtype_promotion("strict"),
    jax.enable_x64(True),
  ):
    with mode:
      out = jax.eval_shape(lambda images: preprocess(images, name, 9), images)
    assert out.dtype == jnp.float32
