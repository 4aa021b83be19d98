"""Scores against the official evaluators on given features."""

import numpy as np
import pytest

from get_jax.evaluation import (
  GaussianStatistics,
  frechet_distance,
  inception_score,
  kernel_inception_distance,
  precision_recall,
)
from get_jax.evaluation.scores.kid import squared_mmd
from get_jax.evaluation.scores.precision_recall import squared_radii

CASES = (
  "general",
  "few_samples",
  "identical",
  "permuted",
  "disjoint",
  "large_scale",
  "degenerate",
)


@pytest.fixture(params=CASES)
def case(request, golden):
  return golden(f"metrics/{request.param}")


def close(found, wanted, rtol, atol=0.0):
  np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


def test_frechet(case):
  x, out, mid = case.under("in"), case.under("out"), case.under("mid")
  ref = GaussianStatistics.from_features(x["ref"])
  sample = GaussianStatistics.from_features(x["sample"])
  close(ref.mean, mid["mu_ref"], 1e-7, 1e-9)
  close(sample.covariance, mid["sigma_sample"], 1e-9, 1e-9)
  close(frechet_distance(sample, ref), out["fid"], 1e-9, 1e-9)
  if "sfid" in out:
    flat = [
      GaussianStatistics.from_features(x[k].reshape(len(x[k]), -1))
      for k in ("sample_spatial", "ref_spatial")
    ]
    close(frechet_distance(*flat), out["sfid"], 1e-9)


def test_frechet_of_edm(golden):
  case = golden("edm/fid")
  x = {
    k: GaussianStatistics(
      case.arrays[f"in/mu_{k}"], case.arrays[f"in/sigma_{k}"]
    )
    for k in "abcd"
  }
  for pair in case.meta["pairs"]:
    wanted = case.arrays[f"out/fid_{pair}"]
    # d is singular; there the reference itself is off by some 1e-8.
    close(frechet_distance(x[pair[0]], x[pair[-1]]), wanted, 1e-7, 1e-9)
  found = GaussianStatistics.from_features(case.arrays["in/features"])
  close(found.mean, case.arrays["out/features_mu"], 1e-9, 1e-12)
  close(found.covariance, case.arrays["out/features_sigma"], 1e-9, 1e-12)


def test_inception_score(case):
  x, out = case.under("in"), case.under("out")
  logits = x["sample"].astype(np.float64) @ x["softmax_w"]
  close(inception_score(logits)[0], out["inception_score"], 1e-5)
  close(
    inception_score(logits, splits=10),
    [out["is10_mean"], out["is10_std"]],
    1e-5,
  )
  close(
    inception_score(logits, splits=10, shuffle_seed=2020),
    [out["is10_mean_shuffled"], out["is10_std_shuffled"]],
    1e-5,
  )
  adm = out["inception_score_split_adm"]
  if np.isfinite(adm):
    size = case.meta["split_size"]
    close(inception_score(logits, split_size=size)[0], adm, 1e-5)


def test_precision_recall(case):
  x, out, mid = case.under("in"), case.under("out"), case.under("mid")
  one_row = 1 / len(x["sample"]), 1 / len(x["ref"])
  found = precision_recall(x["sample"], x["ref"])
  assert abs(found[0] - out["precision"]) <= one_row[0]
  assert abs(found[1] - out["recall"]) <= one_row[1]
  radii = squared_radii(x["ref"])
  scale = np.square(x["ref"]).sum(1).max()
  close(radii, mid["radii2_ref"], 1e-5, 1e-6 * scale)


def test_precision_recall_of_adm(case):
  x, out = case.under("in"), case.under("out")
  found = precision_recall(x["sample"], x["ref"], half_precision=True)
  wanted = out["precision_adm_tf16"], out["recall_adm_tf16"]
  # Half precision leaves the order of summation visible.
  np.testing.assert_allclose(found, wanted, atol=0.01)


def test_kid(case):
  x, out, meta = case.under("in"), case.under("out"), case.meta
  rows = meta["kid_full_rows"]
  close(
    squared_mmd(x["sample"][:rows], x["ref"][:rows]),
    out["kid_full"],
    1e-5,
    1e-9,
  )
  found = kernel_inception_distance(
    x["sample"], x["ref"], meta["kid_subsets"], meta["kid_subset_size"]
  )
  close(found[0], out["kid_mean"], 1e-5, 1e-9)
  close(found[1], out["kid_std"], 1e-5, 1e-9 * abs(out["kid_mean"]))
