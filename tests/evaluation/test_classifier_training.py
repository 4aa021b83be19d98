"""Training of a classifier: accuracy, feature scale, stored precision."""

import numpy as np
import pytest

from get_jax.evaluation import Classifier, load_classifier, save_classifier
from get_jax.evaluation.extractors.classifier_training import (
  accuracy,
  round_to_float16,
  scale_features,
  train_classifier,
)
from get_jax.evaluation.extractors.train_digits_classifier import (
  load_digit_images,
)


@pytest.fixture(scope="module")
def trained():
  images, labels = load_digit_images()
  classifier = Classifier((8,), 16, 10)
  seen = []

  def augment(batch, rng):
    seen.append(len(batch))
    assert batch.dtype == np.uint8 and 0 <= rng.random() < 1
    return batch

  params = train_classifier(
    classifier,
    images[:1000],
    labels[:1000],
    epochs=6,
    batch_size=64,
    learning_rate=1e-2,
    weight_decay=1e-2,
    seed=0,
    augment=augment,
  )
  assert seen == [64] * (6 * (1000 // 64))
  return classifier, params, images[1000:], labels[1000:]


def test_it_learns(trained):
  assert accuracy(*trained) > 0.85


def test_scaled_features_give_the_same_logits(trained, tmp_path):
  classifier, params, images, labels = trained
  scaled = scale_features(classifier, params, images, 20.0)
  path = tmp_path / "extractor.npz"
  save_classifier(path, "extractor", classifier, scaled, (8, 8, 1), note="mine")
  extractor = load_classifier(path)
  features, logits, _ = extractor(images)
  distance = np.sqrt(2 * np.var(features, axis=0).sum())
  np.testing.assert_allclose(distance, 20, rtol=0.01)
  wanted = accuracy(classifier, round_to_float16(scaled), images, labels)
  found = np.mean(np.argmax(logits, axis=1) == labels)
  np.testing.assert_allclose(found, wanted)
  assert abs(wanted - accuracy(*trained)) < 0.01
