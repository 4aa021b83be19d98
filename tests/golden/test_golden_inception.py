"""FID's Inception-v3 against the networks of torch-fidelity and pytorch-fid."""

import hashlib
import json

import numpy as np
import pytest

from get_jax import evaluation
from get_jax.evaluation.extractors import inception_weights
from get_jax.evaluation.extractors.preprocessing import PREPROCESSINGS

BATCH = 4  # one batch size, so that the network is compiled once


@pytest.fixture(scope="module")
def arrays(golden_dir):
  with np.load(golden_dir / "inception" / "small_images.npz") as file:
    meta = json.loads(str(file["meta"]))
  found = inception_weights.random_checkpoint(meta["param_seed"])
  assert len(found) == meta["n_keys"]
  assert sum(x.size for x in found.values()) == meta["n_params"]
  sha256 = hashlib.sha256(b"".join(x.tobytes() for x in found.values()))
  assert meta["param_sha256"].startswith(sha256.hexdigest())
  assert inception_weights.weights_digest(found) == sha256.hexdigest()
  return found


@pytest.fixture(scope="module")
def extractors(arrays):
  found = {
    name: evaluation.InceptionExtractor(arrays, name) for name in PREPROCESSINGS
  }
  for extractor in found.values():  # share the compiled network
    extractor._network = found["tf1"]._network
  return found


def run(extractor, images):
  padded = np.resize(images, (BATCH, *images.shape[1:]))
  return [np.asarray(x)[: len(images)] for x in extractor(padded)]


def relative(found, wanted):
  return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize(
  ("case", "images"),
  [
    ("small_images", "64x48"),
    ("small_images", "32x32"),
    ("large_images", "320x352"),
    ("large_images", "299x299"),
  ],
)
@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_features(golden, extractors, case, images, name):
  golden_case = golden(f"inception/{case}")
  out = golden_case.under(f"out/{images}/{name}")
  if not out:
    pytest.skip("not among the reference numbers")
  pixels = golden_case.arrays[f"in/{images}"]
  extractor = extractors[name]
  inputs = np.asarray(extractor._preprocess(pixels))
  assert relative(inputs[:, ::23, ::23], out["preprocessed_23"]) < 5e-6
  pool, logits, spatial = run(extractor, pixels)
  assert relative(pool, out["pool"]) < 2e-5
  if "logits_unbiased" in out:
    assert relative(logits, out["logits_unbiased"]) < 2e-5
  if "spatial" in out:
    assert spatial.shape[1:] == (17, 17, 7)
    assert relative(spatial, out["spatial"]) < 2e-5


def test_end_to_end(golden, extractors):
  case = golden("inception/end_to_end")
  out = case.under("out")
  sets = [
    evaluation.summarize_images(
      extractors["tf1"],
      evaluation.batches(case.arrays[f"in/{name}_images"], BATCH),
      keep_features=True,
    )
    for name in ("sample", "ref")
  ]
  mid = case.under("mid")
  assert relative(sets[0].features[:, ::16], mid["pool_sample_16"]) < 2e-5
  scores = evaluation.compute_scores(
    *sets, ("fid", "sfid", "inception_score", "precision", "recall")
  )

  def found(score):
    return scores[f"{score}[inception-tf1]"]

  # 36 and 40 images span a corner of 2048 dimensions; the references'
  # matrix root is off by 1e-4 there, ours is not.
  np.testing.assert_allclose(found("fid"), out["fid"], rtol=1e-6)
  np.testing.assert_allclose(found("sfid"), out["sfid"], rtol=1e-6)
  np.testing.assert_allclose(
    found("inception_score"), out["inception_score"], rtol=1e-4
  )
  assert abs(found("precision") - out["precision"]) <= 1 / 36
  assert abs(found("recall") - out["recall"]) <= 1 / 40
