"""The frozen digits classifier, and scores computed with it."""

import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from get_jax import evaluation
from get_jax.errors import UsageError
from get_jax.evaluation.evaluator import Evaluator
from get_jax.evaluation.extractors import classifier, registry
from get_jax.evaluation.extractors.train_digits_classifier import (
  load_digit_images,
)
from get_jax.jobs.measure import measure_files

EXTRACTORS = pathlib.Path(evaluation.__file__).parent / "extractors"


@pytest.fixture(scope="module")
def real():
  return load_digit_images()


@pytest.fixture(scope="module")
def extractor():
  return evaluation.create_extractor("digits-v1")


@pytest.fixture(scope="module")
def reference(extractor, real):
  images, _ = real
  return evaluation.summarize_images(extractor, evaluation.batches(images, 600))


def measure(extractor, reference, images, labels=None):
  scores = ["fid", "sfid", "inception_score"]
  scores += [] if labels is None else ["class_accuracy"]
  found = evaluation.summarize_images(
    extractor, evaluation.batches(images, 600), labels
  )
  return evaluation.compute_scores(found, reference, scores)


def test_digits_survive_quantisation(real):
  images, labels = real
  assert images.shape == (1797, 8, 8, 1) and labels.shape == (1797,)
  back = np.round((images / 127.5 - 1 + 1) * 8)
  again = evaluation.to_uint8(back / 8 - 1)
  np.testing.assert_array_equal(images, again)


def test_real_digits_score_best(extractor, reference, real):
  images, labels = real
  rng = np.random.default_rng(0)
  rows = rng.integers(0, len(images), len(images))
  real_scores = measure(extractor, reference, images[rows], labels[rows])
  assert real_scores["fid[digits-v1]"] < 0.4
  assert real_scores["class_accuracy[digits-v1]"] > 0.98
  assert real_scores["inception_score[digits-v1]"] > 9.5
  noise = rng.integers(0, 256, images.shape, np.uint8)
  noise_scores = measure(extractor, reference, noise)
  assert noise_scores["fid[digits-v1]"] > 50
  assert noise_scores["sfid[digits-v1]"] > 10 * real_scores["sfid[digits-v1]"]
  # A missing class is seen although every image is perfect.
  most = measure(extractor, reference, images[labels != 8])
  assert most["fid[digits-v1]"] > 3 * real_scores["fid[digits-v1]"]


def test_unit_of_distance_and_padding(extractor, reference, real):
  np.testing.assert_allclose(
    np.trace(reference.statistics.covariance), 200, rtol=0.01
  )
  images, _ = real
  whole = extractor(images[:700])
  parts = list(
    evaluation.extract_features(
      extractor, evaluation.batches(images[:700], 600)
    )
  )
  assert [len(part.features) for part in parts] == [600, 100]
  for field in range(3):
    np.testing.assert_allclose(
      whole[field][600:], parts[1][field], rtol=1e-4, atol=1e-4
    )


def test_batches_divided_among_devices(extractor, reference, real):
  images, _ = real
  found = evaluation.summarize_images(
    extractor, evaluation.batches(images, 1001), devices=jax.devices()
  )
  assert found.statistics.count == 1797
  np.testing.assert_allclose(
    found.statistics.mean, reference.statistics.mean, rtol=1e-6, atol=1e-6
  )
  assert abs(
    evaluation.frechet_distance(found.statistics, reference.statistics)
  ) < (1e-6)


def test_parameters_and_size():
  with np.load(EXTRACTORS / "digits_v1.npz") as file:
    count = sum(file[key].size for key in file.files if key != "about")
  assert count == 46_294
  assert (EXTRACTORS / "digits_v1.npz").stat().st_size < 110_000


def test_changed_weights_are_refused(tmp_path, monkeypatch):
  changed = tmp_path / "digits_v1.npz"
  changed.write_bytes((EXTRACTORS / "digits_v1.npz").read_bytes() + b" ")
  with pytest.raises(UsageError, match="frozen classifier was changed"):
    evaluation.load_classifier(changed, sha256=registry.DIGITS_SHA256)


def test_classifier_files(tmp_path, extractor):
  path = tmp_path / "mine.npz"
  module = classifier.Classifier((2, 4), 3, 5)
  images = np.zeros((2, 8, 8, 3), np.uint8)
  shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
  params = jax.tree.map(lambda x: np.ones(x.shape), shapes)
  evaluation.save_classifier(path, "mine-v1", module, params, (8, 8, 3))
  mine = evaluation.create_extractor("classifier", path=path)
  assert (mine.name, mine.dim) == ("mine-v1", 3)
  assert mine(images).logits.shape == (2, 5)
  with pytest.raises(UsageError, match="classifier file .* does not exist"):
    evaluation.load_classifier(tmp_path / "nowhere.npz")
  np.savez(path, x=np.zeros(3))
  with pytest.raises(UsageError, match="is no classifier file"):
    evaluation.load_classifier(path)
  path.write_bytes(b"junk")
  with pytest.raises(UsageError, match="is no classifier file"):
    evaluation.load_classifier(path)


@pytest.mark.parametrize(
  ("images", "sentence"),
  [
    (np.zeros((2, 8, 8, 3), np.uint8), r"shape \(2, 8, 8, 3\), expected"),
    (np.zeros((2, 9, 8, 1), np.uint8), r"shape \(2, 9, 8, 1\), expected"),
    (np.zeros((8, 8, 1), np.uint8), r"shape \(8, 8, 1\), expected"),
    (np.zeros((2, 8, 8, 1), np.float32), "type float32, expected uint8"),
  ],
)
def test_wrong_images(extractor, images, sentence):
  with pytest.raises(UsageError, match=sentence):
    extractor(images)


def test_never_substituted():
  with pytest.raises(UsageError, match="unknown extractor 'vgg'"):
    evaluation.create_extractor("vgg")


def test_any_callable_and_missing_parts(reference):
  mean = evaluation.CallableExtractor(
    lambda x: x.reshape(len(x), -1)[:, :4], "corner", 4
  )
  images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 1), np.uint8)
  found = evaluation.summarize_images(mean, [images])
  scores = evaluation.compute_scores(found, found, ["fid"])
  assert abs(scores["fid[corner]"]) < 1e-6
  for score, sentence in {
    "sfid": "needs spatial features",
    "inception_score": "an extractor that classifies",
    "class_accuracy": "an extractor that classifies",
    "kid": "keep_features=True",
    "recall": "keep_features=True",
    "lpips": "unknown score",
  }.items():
    with pytest.raises(UsageError, match=sentence):
      evaluation.compute_scores(found, found, [score])
  with pytest.raises(UsageError, match="needs reference statistics"):
    evaluation.compute_scores(found, None, ["fid"])
  with pytest.raises(UsageError, match="computed by extractor 'digits-v1'"):
    evaluation.compute_scores(found, reference, ["fid"])


def test_quantisation():
  x = np.array([-2, -1, -1 / 255, 0, 1, 3], np.float32)
  np.testing.assert_array_equal(
    evaluation.to_uint8(x), [0, 0, 127, 128, 255, 255]
  )
  x = np.array([-2, -1, 0, 0.5, 3], np.float32)
  offset = evaluation.get_preset("diffit").conventions.uint8_offset
  np.testing.assert_array_equal(
    evaluation.to_uint8(x, offset), [0, 0, 127, 191, 255]
  )
  levels = np.arange(256, dtype=np.uint8)
  np.testing.assert_array_equal(evaluation.to_uint8(levels / 127.5 - 1), levels)
  with pytest.raises(UsageError, match="NaN"):
    evaluation.to_uint8(np.array([0, np.nan]))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "P", "I;16"])
def test_folders_are_opened_with_its_channels(tmp_path, extractor, mode):
  """Grey files of any mode give the scores of the pixels they show."""
  images, _ = load_digit_images()
  for i, image in enumerate(images[:40]):
    picture = Image.fromarray(image.squeeze(-1))
    if mode == "I;16":
      picture = Image.fromarray(image.squeeze(-1).astype(np.uint16) * 257)
    elif mode != "L":
      picture = picture.convert(mode)
    assert picture.mode == mode
    picture.save(tmp_path / f"{i:02d}.png")
  found = evaluation.read_reference(tmp_path, extractor, keep_features=True)
  expected = extractor(images[:40]).features
  np.testing.assert_allclose(found.summary.features, expected, atol=1e-4)
  assert found.summary.statistics.count == 40
  picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
  Image.fromarray(picture).save(tmp_path / "colour.png")
  with pytest.raises(
    UsageError, match=r"colour.png is of mode RGB, expected g"
  ):
    evaluation.read_reference(tmp_path, extractor)


def test_samples_in_a_folder_are_opened_with_its_channels(tmp_path, extractor):
  images, _ = load_digit_images()
  for i, image in enumerate(images[:100]):
    Image.fromarray(image.squeeze(-1)).save(tmp_path / f"{i:03d}.png")
  reference = evaluation.read_reference(tmp_path, extractor)
  evaluator = Evaluator(
    extractor, reference, ("fid",), evaluation.Conventions(), None, 100, 1
  )
  result = measure_files(evaluator, str(tmp_path))
  assert abs(result.scores["fid[digits-v1]"]) < 1e-3
