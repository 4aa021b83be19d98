r"""Trains a CIFAR-10 classifier as a feature extractor cheaper than Inception.

    python experiments/cifar10_classifier.py --images=cifar10.zip \
      --name=cifar10-mine-v1 --output=cifar10_classifier.npz

`--images` is a zip or folder with `train/<class>/*` and `test/<class>/*`. It
takes some minutes on a GPU and hours on a CPU (`--widths=32,64,128` is four
times cheaper). Every training gives another extractor: keep the file, give it a
name, and compare only scores with that name.
`create_extractor("classifier", path=...)` loads it.
"""

import pathlib

import numpy as np
from absl import app, flags
from tqdm import tqdm

from get_jax.data import open_images
from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import Classifier, save_classifier
from get_jax.evaluation.extractors.classifier_training import (
  accuracy,
  round_to_float16,
  scale_features,
  train_classifier,
)

IMAGES = flags.DEFINE_string(
  "images", None, "Zip or folder of CIFAR-10.", required=True
)
OUTPUT = flags.DEFINE_string("output", None, "The .npz file.", required=True)
NAME = flags.DEFINE_string(
  "name", None, "Name of the extractor.", required=True
)
WIDTHS = flags.DEFINE_list("widths", ["64", "128", "256"], "Channels by stage.")
EPOCHS = flags.DEFINE_integer("epochs", 30, "Passes over the images.")
LIMIT = flags.DEFINE_integer("limit", 0, "Training images; 0: all.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of weights and order.")

PADDING = 4  # maximal shift of training images, in pixels


def read(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Reads images and labels of a split, in a seeded random order.

  Args:
    split: "train" or "test".

  Returns:
    uint8 (N, 32, 32, 3); int32 (N,), classes in the order of their names.

  Raises:
    UsageError: The images are not those of CIFAR-10.
  """
  image_set = open_images(IMAGES.value, within=split)
  batches = tqdm(image_set.batches(500), desc=f"reading {split}", unit="batch")
  images = np.concatenate(list(batches))
  folders = [
    pathlib.PurePosixPath(name).parent.name for name in image_set.names
  ]
  classes = np.unique(folders)
  labels = np.searchsorted(classes, folders)
  if len(classes) != 10 or images.shape[1:] != (32, 32, 3):
    raise UsageError(
      f"--images={IMAGES.value} has {len(classes)} folders of images of shape "
      f"{images.shape[1:]} in {split!r}, expected CIFAR-10's 10 of (32, 32, 3)"
    )
  order = np.random.default_rng(0).permutation(len(images))
  return images[order], labels[order].astype(np.int32)


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Flips half of the images and shifts all by up to `PADDING` pixels."""
  count, height, width, _ = images.shape
  flip = rng.random(len(images)) < 0.5
  images = np.where(flip[:, None, None, None], images[:, :, ::-1], images)
  padding = (PADDING, PADDING)
  padded = np.pad(images, ((0, 0), padding, padding, (0, 0)), mode="reflect")
  top, left = rng.integers(0, 2 * PADDING + 1, (2, count, 1, 1))
  rows = top + np.arange(height)[:, None]
  columns = left + np.arange(width)
  return padded[np.arange(count)[:, None, None], rows, columns]


def main(_):
  """Trains, measures the accuracy of the stored weights, and saves them."""
  images, labels = read("train")
  if LIMIT.value:
    images, labels = images[: LIMIT.value], labels[: LIMIT.value]
  classifier = Classifier(
    widths=tuple(int(width) for width in WIDTHS.value),
    num_features=256,
    num_classes=10,
    normalize=True,
  )
  params = train_classifier(
    classifier,
    images,
    labels,
    epochs=EPOCHS.value,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=5e-2,
    seed=SEED.value,
    augment=augment,
  )
  params = scale_features(classifier, params, images[:10_000], distance=20.0)
  test_accuracy = accuracy(classifier, round_to_float16(params), *read("test"))
  save_classifier(
    OUTPUT.value,
    NAME.value,
    classifier,
    params,
    (32, 32, 3),
    trained_on=f"{len(images)} images of {pathlib.Path(IMAGES.value).name}",
    accuracy_on_the_rest=round(test_accuracy, 4),
    seed=SEED.value,
  )
  print(f"accuracy on the test images: {test_accuracy:.4f}")


if __name__ == "__main__":
  app.run(main)
