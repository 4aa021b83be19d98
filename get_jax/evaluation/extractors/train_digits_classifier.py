r"""Trains the classifier that scores digits (half a minute on one core).

    python -m get_jax.evaluation.extractors.train_digits_classifier \
      --output=digits.npz --name=digits-mine

The shipped file `digits_v1.npz` came from this script (jax 0.10.2 on x86 gives
the same bytes) and is frozen: another training is another extractor, so its
name must differ and its scores do not compare with those of "digits-v1".
"""

import numpy as np
from absl import app, flags
from sklearn.datasets import load_digits

from get_jax.evaluation.extractors.classifier import Classifier, save_classifier
from get_jax.evaluation.extractors.classifier_training import (
  accuracy,
  as_stored,
  scale_features,
  train_classifier,
)
from get_jax.evaluation.images import to_uint8

OUTPUT = flags.DEFINE_string("output", None, "The .npz file.")
NAME = flags.DEFINE_string("name", "digits-mine", "Name of the extractor.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of weights and order.")

CLASSIFIER = Classifier(widths=(20, 48), num_features=64, num_classes=10)
NUM_TRAIN = 1400  # the other 397 measure the accuracy
DISTANCE = 20.0  # between two real digits, root mean square


def digits() -> tuple[np.ndarray, np.ndarray]:
  """All 1,797 digits of scikit-learn.

  Returns:
    Images, uint8 (1797, 8, 8, 1), quantised like samples of a model trained
    on `x / 8 - 1`; labels, int32 (1797,). Shuffled with a fixed seed, since
    the file is ordered by writer.
  """
  data = load_digits()
  order = np.random.default_rng(0).permutation(len(data.target))
  images = to_uint8(data.images[order, ..., None] / 8 - 1)
  return images, data.target[order].astype(np.int32)


def main(_):
  """Trains, measures the accuracy of the stored weights, and writes them."""
  images, labels = digits()
  params = train_classifier(
    CLASSIFIER,
    images[:NUM_TRAIN],
    labels[:NUM_TRAIN],
    epochs=60,
    batch_size=100,
    learning_rate=2e-3,
    weight_decay=1e-2,
    seed=SEED.value,
  )
  params = scale_features(CLASSIFIER, params, images, DISTANCE)
  unseen = images[NUM_TRAIN:], labels[NUM_TRAIN:]
  share = accuracy(CLASSIFIER, as_stored(params), *unseen)
  save_classifier(
    OUTPUT.value,
    NAME.value,
    CLASSIFIER,
    params,
    images.shape[1:],
    trained_on=f"{NUM_TRAIN} of sklearn.datasets.load_digits",
    accuracy_on_the_rest=round(share, 4),
    seed=SEED.value,
  )
  print(f"accuracy on {len(unseen[0])} unseen digits: {share:.4f}")


if __name__ == "__main__":
  flags.mark_flag_as_required("output")
  app.run(main)
