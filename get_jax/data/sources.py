"""Where records come from: anything with a length and records by index."""

import inspect
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from get_jax.data.image_source import edm_zip, images
from get_jax.data.latents import CaptionedLatents, LatentsSource
from get_jax.data.texts import SyntheticTexts, Texts
from get_jax.data.tfds import TfdsSource
from get_jax.errors import UsageError


class Source(Protocol):
  """A fixed, ordered set of records.

  `read(indices, draws)` returns a dict of arrays whose first axis follows
  `indices`; images are float32 NHWC in [-1, 1], labels int32 classes, or
  float32 (n, L, D) where they are texts, which the source then has as `texts`.
  What is random about a record is a function of its `draws` (see
  `get_jax.data.draws`); without them it is read as it is stored. `fingerprint`
  names the content: two sources with equal fingerprints hold equal records.
  """

  image_shape: tuple[int, int, int]
  num_classes: int | None
  fingerprint: str

  def __len__(self) -> int:
    """Number of records."""

  def read(
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,), each value of shape (n, ...)."""


class ArraySource:
  """Records held in memory, as arrays with one leading axis, and texts."""

  def __init__(
    self,
    arrays: Mapping[str, np.ndarray],
    num_classes: int | None,
    fingerprint: str,
    texts: Texts | None = None,
  ):
    self.arrays, self.texts = dict(arrays), texts
    self.image_shape = self.arrays["image"].shape[1:]
    self.num_classes = num_classes
    self.fingerprint = fingerprint

  def __len__(self) -> int:
    return len(self.arrays["image"])

  def read(
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,); nothing but the choice of text is random."""
    records = {name: array[indices] for name, array in self.arrays.items()}
    if self.texts is not None:
      records["label"] = self.texts.read(self.texts.pick(indices, draws))
    return records


def dataset(
  dataset: str,
  image_size: int,
  split: str = "train",
  path: str = "",
  flip: bool = False,
  labels: bool = True,
) -> Source:
  """A public data set: prepared by TFDS, or as image files.

  Args:
    dataset: its name in TFDS, as "cifar10".
    image_size: side of the records.
    split: as "train"; of image files the folder.
    path: a folder or zip of `<split>/<class>/<image>`; "" takes TFDS's.
    flip: mirrors half of the images, drawn anew each time.
    labels: whether to use the labels.

  Raises:
    UsageError: it is not there.
  """
  if path:
    return images(path, image_size, split, flip=flip, labels=labels)
  try:
    return TfdsSource(dataset, image_size, split, flip=flip, labels=labels)
  except UsageError as error:
    raise UsageError(
      f"{error}, or set data.path to a folder or zip of its images "
      f"({split}/<class>/<image>)"
    ) from error


def digits() -> ArraySource:
  """1,797 handwritten digits, 8x8 grey, from scikit-learn (no download).

  The 17 grey levels 0..16 become -1..1.
  """
  from sklearn.datasets import load_digits

  data = load_digits()
  images = (data.images / 8.0 - 1.0).astype(np.float32)[..., None]
  labels = data.target.astype(np.int32)
  return ArraySource({"image": images, "label": labels}, 10, "digits-1797x8x8")


def synthetic(
  image_size: int,
  channels: int,
  num_classes: int | None,
  size: int = 256,
  text: tuple[int, int] | None = None,
) -> ArraySource:
  """Seeded noise of any shape, to try a configuration without its data.

  Args:
    image_size: side of the images.
    channels: of the images.
    num_classes: None or 0 for images without labels.
    size: number of records.
    text: shape (L, D) of their texts' embeddings, if they have texts.
  """
  rng = np.random.RandomState(0)
  shape = (size, image_size, image_size, channels)
  arrays = {"image": rng.uniform(-1, 1, shape).astype(np.float32)}
  if num_classes:
    arrays["label"] = rng.randint(num_classes, size=size).astype(np.int32)
  name = f"synthetic-{size}x{image_size}x{image_size}x{channels}"
  texts = SyntheticTexts(size, text) if text else None
  if texts:
    name += f"-{texts.fingerprint}"
  return ArraySource(arrays, num_classes, name, texts)


SOURCES = {
  "captioned_latents": CaptionedLatents,
  "dataset": dataset,
  "digits": digits,
  "edm_zip": edm_zip,
  "images": images,
  "latents": LatentsSource,
  "synthetic": synthetic,
  "tfds": TfdsSource,
}


def create_source(name: str, **settings) -> Source:
  """The source called `name`, e.g. `create_source("digits")`.

  Raises:
    UsageError: no source has that name, a setting does not fit it, or the data
      is not there.
  """
  if name not in SOURCES:
    known = ", ".join(sorted(SOURCES))
    raise UsageError(f"data.name is {name!r}; expected one of: {known}")
  try:
    inspect.signature(SOURCES[name]).bind(**settings)
  except TypeError as error:
    raise UsageError(
      f"data {name!r} does not fit its settings: {error}"
    ) from error
  return SOURCES[name](**settings)
