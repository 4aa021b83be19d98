r"""Trains the classifier used as extractor for digits (30 seconds on one core).

    python -m get_jax.evaluation.extractors.train_digits_classifier \
      --output=digits.npz --name=digits-mine

The packaged file `digits_v1.npz` was written by this script (jax 0.10.2 on x86
gives the same bytes) and is frozen: another training gives another extractor,
so it needs another name, and its scores are not comparable with those of
"digits-v1".
"""

import numpy as np
from absl import app, flags
from jaxtyping import Int, UInt8
from sklearn.datasets import load_digits

from get_jax.evaluation.extractors.classifier import Classifier, save_classifier
from get_jax.evaluation.extractors.classifier_training import (
  accuracy,
  round_to_float16,
  scale_features,
  train_classifier,
)
from get_jax.evaluation.quantization import to_uint8

OUTPUT = flags.DEFINE_string("output", None, "The .npz file.")
NAME = flags.DEFINE_string("name", "digits-mine", "Name of the extractor.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of weights and order.")

CLASSIFIER = Classifier(widths=(20, 48), num_features=64, num_classes=10)
NUM_TRAIN = 1400  # the other 397 serve to measure the accuracy
DISTANCE = 20.0  # root mean square distance between two real digits


def load_digit_images() -> tuple[
  UInt8[np.ndarray, "1797 8 8 1"], Int[np.ndarray, "1797"]
]:
  """Loads all 1,797 digits of scikit-learn.

  Returns:
    Images, uint8 (1797, 8, 8, 1), quantized like samples of a model trained
    on `x / 8 - 1`; labels, int32 (1797,). Shuffled with a fixed seed, since
    the file is ordered by writer.
  """
  data = load_digits()
  order = np.random.default_rng(0).permutation(len(data.target))
  images = to_uint8(data.images[order, ..., None] / 8 - 1)
  return images, data.target[order].astype(np.int32)


def main(_):
  """Trains, measures the accuracy of the stored weights, and saves them."""
  assert OUTPUT.value is not None  # the flag is required
  images, labels = load_digit_images()
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
  test = images[NUM_TRAIN:], labels[NUM_TRAIN:]
  test_accuracy = accuracy(CLASSIFIER, round_to_float16(params), *test)
  save_classifier(
    OUTPUT.value,
    NAME.value,
    CLASSIFIER,
    params,
    images.shape[1:],
    trained_on=f"{NUM_TRAIN} of sklearn.datasets.load_digits",
    accuracy_on_the_rest=round(test_accuracy, 4),
    seed=SEED.value,
  )
  print(f"accuracy on {len(test[0])} test digits: {test_accuracy:.4f}")


if __name__ == "__main__":
  flags.mark_flag_as_required("output")
  app.run(main)
