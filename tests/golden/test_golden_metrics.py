"""Scores against the official evaluators on given features."""

import numpy as np
from cases import cases, each
from tolerances import tolerance

from get_jax.evaluation import (
  GaussianStatistics,
  frechet_distance,
  inception_score,
  kernel_inception_distance,
  precision_recall,
)
from get_jax.evaluation.scores.kid import squared_mmd
from get_jax.evaluation.scores.precision_recall import squared_radii

on_features = cases(
  "metrics/*.npz", lambda case: {"in/ref", "in/sample"} <= case.names
)


def close(got, expected, rtol, atol=0.0):
  np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


@on_features
def test_frechet(case):
  x, out, mid = case.under("in"), case.under("out"), case.under("mid")
  fid = tolerance(case, "metrics", "fid")
  statistics = {}
  for name in ("ref", "sample"):
    got = GaussianStatistics.from_features(x[name])
    close(got.mean, mid[f"mu_{name}"], tolerance(case, "metrics", "mean"), 1e-9)
    close(
      got.covariance,
      mid[f"sigma_{name}"],
      tolerance(case, "metrics", "covariance"),
      1e-9,
    )
    statistics[name] = got
  got = frechet_distance(statistics["sample"], statistics["ref"])
  close(got, out["fid"], fid, 1e-9)
  if "sfid" in out:
    flat = [
      GaussianStatistics.from_features(x[k].reshape(len(x[k]), -1))
      for k in ("sample_spatial", "ref_spatial")
    ]
    close(frechet_distance(*flat), out["sfid"], fid)


@each("edm/fid*.npz", lambda case: case.meta["pairs"])
def test_frechet_of_edm(case, name):
  first, second = (
    GaussianStatistics(
      case.arrays[f"in/mu_{key}"], case.arrays[f"in/sigma_{key}"]
    )
    for key in name.split("_vs_")
  )
  expected = case.arrays[f"out/fid_{name}"]
  limit = tolerance(case, "edm/fid", "fid")
  close(frechet_distance(first, second), expected, limit, 1e-9)


@cases("edm/fid*.npz")
def test_statistics_of_edm(case):
  got = GaussianStatistics.from_features(case.arrays["in/features"])
  limit = tolerance(case, "edm/fid", "moments")
  close(got.mean, case.arrays["out/features_mu"], limit, 1e-12)
  close(got.covariance, case.arrays["out/features_sigma"], limit, 1e-12)


@on_features
def test_inception_score(case):
  x, out = case.under("in"), case.under("out")
  limit = tolerance(case, "metrics", "inception_score")
  logits = x["sample"].astype(np.float64) @ x["softmax_w"]
  close(inception_score(logits)[0], out["inception_score"], limit)
  close(
    inception_score(logits, splits=10),
    [out["is10_mean"], out["is10_std"]],
    limit,
  )
  close(
    inception_score(logits, splits=10, shuffle_seed=2020),
    [out["is10_mean_shuffled"], out["is10_std_shuffled"]],
    limit,
  )
  adm = out["inception_score_split_adm"]
  if np.isfinite(adm):
    size = case.meta["split_size"]
    close(inception_score(logits, split_size=size)[0], adm, limit)


@on_features
def test_precision_recall(case):
  x, out, mid = case.under("in"), case.under("out"), case.under("mid")
  precision, recall = precision_recall(x["sample"], x["ref"])
  assert abs(precision - out["precision"]) <= 1 / len(x["sample"])
  assert abs(recall - out["recall"]) <= 1 / len(x["ref"])
  limit = tolerance(case, "metrics", "radii")
  for name in ("ref", "sample"):
    scale = np.square(x[name]).sum(1).max()
    close(squared_radii(x[name]), mid[f"radii2_{name}"], limit, 1e-6 * scale)


@on_features
def test_precision_recall_of_adm(case):
  x, out = case.under("in"), case.under("out")
  got = precision_recall(x["sample"], x["ref"], half_precision=True)
  expected = out["precision_adm_tf16"], out["recall_adm_tf16"]
  limit = tolerance(case, "metrics", "half_precision")
  np.testing.assert_allclose(got, expected, atol=limit)


@on_features
def test_kid(case):
  x, out, meta = case.under("in"), case.under("out"), case.meta
  limit = tolerance(case, "metrics", "kid")
  rows = meta["kid_full_rows"]
  got = squared_mmd(x["sample"][:rows], x["ref"][:rows])
  close(got, out["kid_full"], limit, 1e-9)
  mean, std = kernel_inception_distance(
    x["sample"], x["ref"], meta["kid_subsets"], meta["kid_subset_size"]
  )
  close(mean, out["kid_mean"], limit, 1e-9)
  close(std, out["kid_std"], limit, 1e-9 * abs(out["kid_mean"]))
