r"""Trains a CIFAR-10 classifier to measure with, where Inception is too much.

    python experiments/cifar10_classifier.py --images=cifar10.zip \
      --name=cifar10-mine-v1 --output=cifar10_classifier.npz

`--images` is a zip or folder with `train/<class>/*` and `test/<class>/*`. Some
minutes on a GPU, hours on a CPU (`--widths=32,64,128` is four times cheaper).
The file is an extractor of your own: keep it, name it, and compare only scores
that carry its name. `create_extractor("classifier", path=...)` reads it.
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
  as_stored,
  scale_features,
  train_classifier,
)

IMAGES = flags.DEFINE_string("images", None, "Zip or folder of CIFAR-10.")
OUTPUT = flags.DEFINE_string("output", None, "The .npz file.")
NAME = flags.DEFINE_string("name", None, "Name of the extractor.")
WIDTHS = flags.DEFINE_list("widths", ["64", "128", "256"], "Channels.")
EPOCHS = flags.DEFINE_integer("epochs", 30, "Passes over the images.")
LIMIT = flags.DEFINE_integer("limit", 0, "Images to train on; 0: all.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of weights and order.")

PADDING = 4  # pixels by which training images are shifted at most


def read(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Images and labels of a split, in a seeded random order.

  Returns:
    uint8 (N, 32, 32, 3); int32 (N,), classes in the order of their names.
  """
  files = open_images(IMAGES.value, within=split)
  batches = tqdm(files.batches(500), desc=f"reading {split}", unit="batch")
  images = np.concatenate(list(batches))
  folders = [pathlib.PurePosixPath(name).parent.name for name in files.names]
  classes, labels = np.unique(folders, return_inverse=True)
  if len(classes) != 10 or images.shape[1:] != (32, 32, 3):
    raise UsageError(
      f"--images={IMAGES.value} has {len(classes)} folders of images of shape "
      f"{images.shape[1:]} in {split!r}, expected CIFAR-10's 10 of (32, 32, 3)"
    )
  order = np.random.default_rng(0).permutation(len(images))
  return images[order], labels[order].astype(np.int32)


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Mirrors half of the images and shifts all by up to `PADDING` pixels."""
  count, height, width, _ = images.shape
  flip = rng.random(count) < 0.5
  images = np.where(flip[:, None, None, None], images[:, :, ::-1], images)
  edge = (PADDING, PADDING)
  padded = np.pad(images, ((0, 0), edge, edge, (0, 0)), mode="reflect")
  top, left = rng.integers(0, 2 * PADDING + 1, (2, count, 1, 1))
  rows = top + np.arange(height)[:, None]
  columns = left + np.arange(width)
  return padded[np.arange(count)[:, None, None], rows, columns]


def main(_):
  """Trains, measures the accuracy of the stored weights, and writes them."""
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
  share = accuracy(classifier, as_stored(params), *read("test"))
  save_classifier(
    OUTPUT.value,
    NAME.value,
    classifier,
    params,
    (32, 32, 3),
    trained_on=f"{len(images)} images of {pathlib.Path(IMAGES.value).name}",
    accuracy_on_the_rest=round(share, 4),
    seed=SEED.value,
  )
  print(f"accuracy on the test images: {share:.4f}")


if __name__ == "__main__":
  flags.mark_flags_as_required(["images", "output", "name"])
  app.run(main)
