"""Precision, recall and KID by brute force and on sets with known answers."""

import numpy as np
import pytest

from get_jax import evaluation
from get_jax.errors import UsageError
from get_jax.evaluation.scores import kid
from get_jax.evaluation.scores import precision_recall as manifold


def brute_force(samples, reference, k):
  def squared(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return ((a[:, None] - b) ** 2).sum(-1)

  radii = [np.sort(squared(x, x), axis=1)[:, k] for x in (samples, reference)]
  cross = squared(samples, reference)
  return (
    (cross <= radii[1]).any(1).mean(),
    (cross <= radii[0][:, None]).any(0).mean(),
  )


@pytest.mark.parametrize("k", [1, 3])
def test_tiles_equal_brute_force(monkeypatch, k):
  monkeypatch.setattr(manifold, "_TILE", 32)
  rng = np.random.default_rng(3)
  reference = rng.standard_normal((70, 5)).astype(np.float32) + 1000
  samples = reference[:50] * np.float32(1.0003) + rng.standard_normal(
    (50, 5)
  ).astype(np.float32)
  samples[10:16] = samples[10]  # a collapsed mode: balls of radius zero
  found = evaluation.precision_recall(samples, reference, k)
  np.testing.assert_allclose(found, brute_force(samples, reference, k))


def test_half_precision_falls_back_where_it_overflows():
  rng = np.random.default_rng(4)
  small = rng.standard_normal((2, 40, 8)).astype(np.float32)
  large = 1000 * small
  exact = evaluation.precision_recall(*small)
  assert evaluation.precision_recall(*large, half_precision=True) == exact
  half = evaluation.precision_recall(*small, half_precision=True)
  np.testing.assert_allclose(half, exact, atol=0.03)


def test_kid_is_unbiased_and_counts_pairs_once():
  rng = np.random.default_rng(5)
  a, b = rng.standard_normal((2, 6, 3))

  def kernel(x, y):
    return (x @ y / 3 + 1) ** 3

  pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
  wanted = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) for i, j in pairs) / 30
  wanted -= 2 * np.mean([kernel(x, y) for x in a for y in b])
  np.testing.assert_allclose(kid.squared_mmd(a, b), wanted)
  many = rng.standard_normal((2, 3000, 4))
  mean, std = evaluation.kernel_inception_distance(*many, 40, 200)
  assert abs(mean) < std


def test_scores_together_and_bad_input():
  rng = np.random.default_rng(6)
  images = rng.integers(0, 256, (2, 30, 4, 4, 1), np.uint8)
  corner = evaluation.CallableExtractor(
    lambda x: x.reshape(len(x), -1)[:, :4] / 255, "corner", 4
  )
  sets = [
    evaluation.summarize_images(corner, [x], keep_features=True) for x in images
  ]
  few = evaluation.Conventions(kid_subsets=4, kid_subset_size=20)
  scores = ["kid", "recall", "precision", "fid"]
  found = evaluation.compute_scores(*sets, scores, few)
  assert list(found) == [
    f"{x}[corner]" for x in ("fid", "precision", "recall", "kid", "kid_std")
  ]
  assert 0 < found["recall[corner]"] <= 1
  with pytest.raises(UsageError, match="subsets of 1000 images"):
    evaluation.compute_scores(*sets, ["kid"])
  with pytest.raises(UsageError, match="at least 4 images, found 3 in the ref"):
    evaluation.precision_recall(np.zeros((9, 2)), np.zeros((3, 2)))
  with pytest.raises(UsageError, match="expected"):
    evaluation.precision_recall(np.zeros((9, 2)), np.zeros((9, 3)))
  with pytest.raises(UsageError, match="samples contain NaN"):
    evaluation.precision_recall(np.full((9, 2), np.nan), np.zeros((9, 2)))
  with pytest.raises(UsageError, match="expected"):
    evaluation.kernel_inception_distance(np.zeros((9, 2)), np.zeros((9, 3)))
