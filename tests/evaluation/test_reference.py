"""Reference statistics from files, their cache, and feature shards."""

import json

import numpy as np
import pytest
from PIL import Image

from get_jax import evaluation
from get_jax.errors import UsageError
from get_jax.evaluation import feature_shards, reference


def corner(dim=6, name="corner", digest="1"):
  """An extractor of a few pixels, with spatial features and logits."""

  def function(images):
    flat = np.asarray(images, np.float32).reshape(len(images), -1) / 255
    return evaluation.ExtractorOutput(
      flat[:, :dim], flat[:, -3:], flat[:, 4:8].reshape(-1, 2, 2, 1)
    )

  return evaluation.CallableExtractor(function, name, dim, digest)


@pytest.fixture(scope="module")
def pictures():
  return np.random.default_rng(0).integers(0, 256, (11, 5, 4, 3), np.uint8)


@pytest.mark.parametrize("keep_features", [False, True])
def test_written_statistics_come_back(tmp_path, pictures, keep_features):
  extractor = corner()
  summary = evaluation.summarize_images(
    extractor, [pictures], keep_features=keep_features
  )
  made = evaluation.Reference(summary, "pictures")
  path = tmp_path / "deep" / "stats.npz"
  evaluation.write_reference(path, made, pictures)
  back = evaluation.read_reference(path, extractor, keep_features)
  assert back.digest == made.digest and back.name == "pictures"
  assert back.summary.statistics.count == 11
  np.testing.assert_array_equal(
    back.summary.spatial_statistics.covariance,
    summary.spatial_statistics.covariance,
  )
  assert (back.summary.features is None) == (not keep_features)
  with np.load(path) as file:  # what the other evaluators look for
    assert {"mu", "sigma", "mu_s", "sigma_s", "arr_0"} <= set(file.files)
    np.testing.assert_allclose(
      file["sigma"], np.cov(extractor(pictures).features, rowvar=False)
    )
    assert file["mu"].dtype == np.float64
  assert not list(path.parent.glob(".*"))
  with pytest.raises(UsageError, match="were computed by extractor 'corner'"):
    evaluation.read_reference(path, corner(name="other"))


def test_statistics_win_over_images(tmp_path, pictures):
  path = tmp_path / "batch.npz"
  np.savez(path, arr_0=pictures, mu=np.zeros(6), sigma=np.eye(6))
  found = evaluation.read_reference(path, corner(), keep_features=True)
  np.testing.assert_array_equal(found.summary.statistics.covariance, np.eye(6))
  assert found.summary.features.shape == (11, 6)
  np.savez(path, arr_0=pictures)
  found = evaluation.read_reference(path, corner())
  assert found.summary.statistics.count == 11


def test_bad_statistics_are_one_sentence(tmp_path):
  path = tmp_path / "stats.npz"

  def refused(sentence, **arrays):
    if arrays:
      np.savez(path, **arrays)
    with pytest.raises(UsageError, match=sentence):
      evaluation.read_reference(
        path, corner(), keep_features="rows" in sentence
      )

  refused("reference statistics .* do not exist, expected an .npz")
  refused(r"has the keys \['m', 's'\], expected", m=1, s=2)
  refused(
    r"shape \(5,\), expected \(6,\), the features of extractor 'corner'",
    mu=np.zeros(5),
    sigma=np.eye(5),
  )
  refused(r"expected \(D,\) and \(D, D\)", mu=np.zeros(6), sigma=np.eye(5))
  refused("NaN", mu=np.full(6, np.nan), sigma=np.eye(6))
  refused(
    "neither images .* nor features .'rows'", mu=np.zeros(6), sigma=np.eye(6)
  )
  path.write_bytes(path.read_bytes()[:-30])
  refused("cannot be read as an .npz")


def test_cache(tmp_path, pictures):
  starts = []

  def images():
    starts.append(1)
    return [pictures]

  def cached(fingerprint="a", extractor=None, keep_features=False):
    return evaluation.cached_reference(
      tmp_path,
      "my/data",
      fingerprint,
      extractor or corner(),
      images,
      keep_features,
    )

  first = cached()
  again = cached()
  assert len(starts) == 1 and again.digest == first.digest
  assert again.name == "my/data"
  cached("b")
  cached(extractor=corner(digest="2"))
  assert cached(keep_features=True).summary.features.shape == (11, 6)
  assert len(starts) == 4 and len(list(tmp_path.iterdir())) == 4


def test_shards_survive_a_crash_and_grow(tmp_path, pictures):
  extractor, identity = corner(), {"seed": 1}
  labels = np.arange(11)

  def shards(count=11, identity=identity):
    return feature_shards.FeatureShards(tmp_path, identity, count, size=4)

  def make(shard, store):
    rows = store.indices(shard)
    batches = evaluation.batches(pictures[rows], 3)
    found = evaluation.extract_features(extractor, batches)
    store.write(shard, found, labels[rows])

  first = shards(count=8)
  make(1, first)
  assert first.missing() == [0]
  make(0, first)
  second = shards()
  assert len(second) == 3 and second.missing() == [2]
  assert shards(identity={"seed": 2}).missing() == [0, 1, 2]
  make(2, second)
  summary = second.summarize(extractor, keep_features=True)
  whole = evaluation.summarize_images(extractor, [pictures], labels, True)
  np.testing.assert_array_equal(summary.features, whole.features)
  np.testing.assert_array_equal(summary.labels, labels)
  np.testing.assert_allclose(
    summary.spatial_statistics.covariance,
    whole.spatial_statistics.covariance,
    atol=1e-14,
  )
  with pytest.raises(ValueError, match="have 4 samples, expected 3"):
    second.write(2, [extractor(pictures[:4])])
  path = sorted(second.folder.glob("*.npz"))[1]
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(UsageError, match="delete it and evaluate again"):
    second.summarize(extractor)


def test_presets_and_protocol(tmp_path, pictures, capsys):
  edm = evaluation.get_preset("edm")
  assert edm.repeats == 3 and edm.preprocessing == "tf1"
  assert "TEST" in evaluation.get_preset("get").reference
  for preset in evaluation.PRESETS.values():
    assert set(preset.scores) <= set(evaluation.SCORES)
    assert preset.count == 50_000
  with pytest.raises(UsageError, match="unknown evaluation preset 'gan'"):
    evaluation.get_preset("gan")
  extractor = corner()
  made = reference.Reference(
    evaluation.summarize_images(extractor, [pictures]), "pictures"
  )
  protocol = evaluation.EvaluationProtocol(
    samples=11, seed=3, sampler="Heun", steps=18, preset="edm"
  ).with_evaluator(extractor, made)
  results = [
    evaluation.EvaluationResult(
      {"fid[corner]": fid, "kid[corner]": 1}, protocol
    )
    for fid in (3.0, 2.0, 4.0)
  ]
  best = evaluation.lowest_fid(results)
  assert best.scores["fid[corner]"] == 2.0
  assert best.protocol.preset.startswith("edm: minimum of 3 FIDs (3.0000, 2.")
  best.print()
  printed = capsys.readouterr().out
  for word in ("fid[corner]", "2.0000", "pictures", "Heun", made.digest[:16]):
    assert word in printed
  best.write(tmp_path / "results" / "evaluate.json")
  content = json.loads((tmp_path / "results" / "evaluate.json").read_text())
  assert content["protocol"]["reference_sha256"] == made.digest
  assert content["protocol"]["reference_count"] == 11
  assert content["scores"]["fid[corner]"] == 2.0


def test_curve(tmp_path):
  points = [
    (6, {"fid[x]": 2.0, "kid[x]": 0.2, "kid_std[x]": 0.1}),
    (1, {"fid[x]": 9.0, "kid[x]": 0.9, "kid_std[x]": 0.1}),
    (3, {"fid[x]": 4.0}),
  ]
  path = evaluation.plot_curve(
    tmp_path / "curve",
    "equilibrium iterations",
    points,
    {"samples": 50},
    {"teacher": {"fid[x]": 1.5}},
    log_x=True,
  )
  with Image.open(path) as picture:
    assert picture.size[0] > 400
  content = json.loads(path.with_suffix(".json").read_text())
  assert [point["x"] for point in content["points"]] == [1, 3, 6]
  assert content["protocol"] == {"samples": 50}
  with pytest.raises(UsageError, match="no scores to plot"):
    evaluation.plot_curve(tmp_path / "none", "step", [])
