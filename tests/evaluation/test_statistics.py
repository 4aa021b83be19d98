"""Streaming moments and the Frechet distance between them."""

import tracemalloc

import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.evaluation import (
  GaussianStatistics,
  RunningStatistics,
  class_accuracy,
  frechet_distance,
  inception_score,
  merge_across_processes,
)


def frechet_from_rows(a, b):
  """The distance without covariances: nuclear norm of the centred rows."""
  rows = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
  cross = np.linalg.svd(rows[0] @ rows[1].T, compute_uv=False).sum()
  traces = sum((x * x).sum() for x in rows)
  return ((a.mean(0) - b.mean(0)) ** 2).sum() + traces - 2 * cross


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_streaming_equals_two_passes(offset):
  rng = np.random.default_rng(1)
  x = rng.standard_normal((5000, 24)) @ rng.standard_normal((24, 24)) + offset
  running, other = RunningStatistics(24), RunningStatistics(24)
  for i, part in enumerate(np.split(x, [1, 7, 1000, 1001, 3000])):
    (running if i % 2 else other).update(part)
  running.merge(other)
  found = running.compute()
  assert found.count == 5000
  centred = x - x.mean(0)
  np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-13)
  wanted = centred.T @ centred / 4999
  error = np.linalg.norm(found.covariance - wanted) / np.linalg.norm(wanted)
  assert error < (1e-13 if offset == 0 else 1e-10)


def test_memory_does_not_grow_with_images():
  rng = np.random.default_rng(3)
  running = RunningStatistics(256)
  tracemalloc.start()
  for _ in range(200):
    running.update(rng.standard_normal((100, 256), dtype=np.float32))
  running.compute()
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  # Two matrices besides the running one, and a few copies of a batch.
  assert peak < 8 * (2 * 256**2 + 6 * 101 * 256)


def test_hosts_merge_without_rounding(monkeypatch):
  rng = np.random.default_rng(4)
  parts = [rng.standard_normal((n, 3)) + 1e6 for n in (5, 1, 40)]
  hosts = [RunningStatistics(3) for _ in parts]
  for host, part in zip(hosts, parts, strict=True):
    host.update(part)
  sent = []

  def allgather(bits):
    # Every host sends the same field in the same call.
    field = ("count", "mean", "scatter")[len(sent)]
    sent.append(field)
    assert bits.dtype == np.uint32
    values = [np.atleast_1d(np.float64(getattr(h, field))) for h in hosts]
    return np.stack([np.ascontiguousarray(v).view(np.uint32) for v in values])

  monkeypatch.setattr("jax.process_count", lambda: 3)
  monkeypatch.setattr(
    "jax.experimental.multihost_utils.process_allgather", allgather
  )
  merged = merge_across_processes(hosts[1]).compute()
  whole = GaussianStatistics.from_features(np.concatenate(parts))
  assert merged.count == 46
  np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-15)
  np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-8)


def test_merging_nothing_changes_nothing():
  x = np.random.default_rng(0).standard_normal((9, 3))
  running = RunningStatistics(3)
  running.merge(RunningStatistics(3))
  running.update(x[:0])
  running.update(x)
  running.merge(RunningStatistics(3))
  np.testing.assert_allclose(
    running.compute().covariance, np.cov(x, rowvar=False), rtol=1e-13
  )


@pytest.mark.parametrize(("n", "m"), [(200, 300), (12, 9), (2, 2)])
def test_frechet_distance_is_exact(n, m):
  rng = np.random.default_rng(2)
  mix = rng.standard_normal((40, 40))
  a = rng.standard_normal((n, 40)) @ mix
  b = 1.2 * rng.standard_normal((m, 40)) @ mix + 0.3
  x, y = (
    GaussianStatistics.from_features(a),
    GaussianStatistics.from_features(b),
  )
  wanted = frechet_from_rows(a, b)
  np.testing.assert_allclose(frechet_distance(x, y), wanted, rtol=1e-11)
  np.testing.assert_allclose(frechet_distance(y, x), wanted, rtol=1e-11)
  assert abs(frechet_distance(x, x)) < 1e-10


def test_degenerate_covariances():
  still = GaussianStatistics(np.zeros(3), np.zeros((3, 3)))
  moving = GaussianStatistics(np.ones(3), np.diag([1.0, 4.0, 0.0]))
  assert frechet_distance(still, still) == 0
  np.testing.assert_allclose(frechet_distance(still, moving), 3 + 5)


def test_inception_score_of_known_distributions():
  certain = 1e4 * np.eye(10)[np.arange(200) % 10]  # ADM's code yields NaN
  mean, std = inception_score(certain, splits=4)
  np.testing.assert_allclose([mean, std], [10, 0], atol=1e-9)
  np.testing.assert_allclose(inception_score(np.zeros((20, 7)))[0], 1)
  # Sorted by class, consecutive splits see one class each.
  ordered = np.sort(np.arange(200) % 10)
  assert inception_score(certain[ordered], split_size=20)[0] < 1.001
  assert inception_score(certain[ordered], splits=2, shuffle_seed=2020)[0] > 9.5
  assert class_accuracy(certain, np.arange(200) % 10) == 1


def test_bad_input_is_one_sentence():
  running = RunningStatistics(3)
  running.update(np.ones((1, 3)))
  with pytest.raises(UsageError, match="at least 2 images, found 1"):
    running.compute()
  with pytest.raises(UsageError, match="width 4, expected 3"):
    running.update(np.ones((2, 4)))
  with pytest.raises(UsageError, match="1 of the 2 images after image 1"):
    running.update(np.array([[1, 2, 3], [1, np.nan, 3]]))
  with pytest.raises(UsageError, match="3 and 2 features"):
    frechet_distance(
      GaussianStatistics(np.zeros(3), np.eye(3)),
      GaussianStatistics(np.zeros(2), np.eye(2)),
    )
  with pytest.raises(UsageError, match=r"expected \(D,\) and \(D, D\)"):
    GaussianStatistics(np.zeros(3), np.eye(2))
  with pytest.raises(UsageError, match="NaN"):
    GaussianStatistics(np.zeros(2), np.full((2, 2), np.nan))
  with pytest.raises(UsageError, match="at least 2, found 5"):
    inception_score(np.zeros((5, 2)), splits=10)
  with pytest.raises(UsageError, match="NaN"):
    inception_score(np.full((5, 2), np.nan))
  with pytest.raises(UsageError, match="3 labels for 5 images"):
    class_accuracy(np.zeros((5, 2)), np.zeros(3))
