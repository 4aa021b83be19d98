"""Data sources: the protocol, sources in memory, and the registry."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from get_jax.data.array_records import array_record
from get_jax.data.decoding import BACKGROUND
from get_jax.data.hugging_face import hugging_face
from get_jax.data.image_source import edm_zip, images
from get_jax.data.latents import CaptionedLatents, LatentsSource
from get_jax.data.texts import SyntheticTexts, Texts
from get_jax.data.tfds import TfdsSource
from get_jax.data.webdataset import webdataset
from get_jax.errors import UsageError


class Source(Protocol):
  """A fixed, ordered set of records that are read by index.

  A source whose labels are text embeddings has the texts in an attribute
  `texts`.

  Attributes:
    image_shape: (H, W, C) of the images.
    num_classes: number of classes; None without class labels.
    fingerprint: identifies the content: sources with equal fingerprints hold
      equal records.
  """

  image_shape: tuple[int, int, int]
  num_classes: int | None
  fingerprint: str

  def __len__(self) -> int:
    """Returns the number of records."""

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns records.

    Args:
      indices: of the records, (n,).
      bits: random bits (n,), uint64 (see `get_jax.data.random_bits`). All
        randomness of a record is a function of its bits; None reads the
        records without augmentation or sampling.

    Returns:
      Arrays whose first axis follows `indices`: "image" float32 (n, H, W, C)
      in [-1, 1]; "label", if there are labels, int32 classes (n,) or float32
      text embeddings (n, L, D).
    """


class ArraySource:
  """Records in memory, as arrays with one leading axis, and optional texts.

  Args:
    arrays: arrays (n, ...) by name, with "image" (n, H, W, C).
    num_classes: number of classes; None without class labels.
    fingerprint: identifies the content.
    texts: texts of the images; their embeddings become "label".
  """

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
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the records at `indices` (n,); see `Source.read`.

    `bits` (n,) decide which text is used; nothing else is random.
    """
    records = {name: array[indices] for name, array in self.arrays.items()}
    if self.texts is not None:
      ids = self.texts.ids_of_images(indices, bits)
      records["label"] = self.texts.read(ids)
    return records


def dataset(
  dataset: str,
  image_size: int | Sequence[int],
  split: str = "train",
  path: str = "",
  flip: bool = False,
  labels: bool = True,
  orientation: str = "exif",
  background: Sequence[int] = BACKGROUND,
  skip_broken: bool = False,
) -> Source:
  """Opens a public data set, from image files or as prepared by TFDS.

  Args:
    dataset: its name in TFDS, such as "cifar10".
    image_size: side of the records, or (H, W).
    split: such as "train"; for image files the name of the folder.
    path: a folder or zip of `<split>/<class>/<image>`; "" reads TFDS's files.
    flip: mirrors each image with probability 1/2, anew in every epoch.
    labels: whether to use the labels.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.
    skip_broken: leaves out the image files that cannot be decoded.

  Raises:
    UsageError: the data set is not found.
  """
  if path:
    return images(
      path,
      image_size,
      split,
      flip=flip,
      labels=labels,
      orientation=orientation,
      background=background,
      skip_broken=skip_broken,
    )
  try:
    return TfdsSource(
      dataset,
      image_size,
      split,
      flip=flip,
      labels=labels,
      orientation=orientation,
      background=background,
    )
  except UsageError as error:
    raise UsageError(
      f"{error}, or set data.path to a folder or zip of its images "
      f"({split}/<class>/<image>)"
    ) from error


def digits() -> ArraySource:
  """Loads 1,797 handwritten digits, 8x8 grey, from scikit-learn (no download).

  The 17 grey levels 0..16 are mapped to [-1, 1].
  """
  from sklearn.datasets import load_digits

  data = load_digits()
  images = (data.images / 8.0 - 1.0).astype(np.float32)[..., None]
  labels = data.target.astype(np.int32)
  return ArraySource({"image": images, "label": labels}, 10, "digits-1797x8x8")


def synthetic(
  image_size: int | Sequence[int],
  channels: int,
  num_classes: int | None,
  size: int = 256,
  text: tuple[int, int] | None = None,
) -> ArraySource:
  """Generates seeded noise of any shape, to try a configuration without data.

  Args:
    image_size: side of the images, or (H, W).
    channels: channels of the images.
    num_classes: number of classes; None or 0 for images without labels.
    size: number of records.
    text: shape (L, D) of text embeddings, for images with texts.
  """
  rng = np.random.RandomState(0)
  if isinstance(image_size, int):
    image_size = image_size, image_size
  height, width = image_size
  shape = (size, height, width, channels)
  arrays = {"image": rng.uniform(-1, 1, shape).astype(np.float32)}
  if num_classes:
    arrays["label"] = rng.randint(num_classes, size=size).astype(np.int32)
  name = f"synthetic-{size}x{height}x{width}x{channels}"
  texts = SyntheticTexts(size, text) if text else None
  if texts:
    name += f"-{texts.fingerprint}"
  return ArraySource(arrays, num_classes, name, texts)


SOURCES: dict[str, Callable[..., Source]] = {
  "array_record": array_record,
  "captioned_latents": CaptionedLatents,
  "dataset": dataset,
  "digits": digits,
  "edm_zip": edm_zip,
  "hugging_face": hugging_face,
  "images": images,
  "latents": LatentsSource,
  "synthetic": synthetic,
  "tfds": TfdsSource,
  "webdataset": webdataset,
}


def create_source(name: str, **settings: Any) -> Source:
  """Creates a source by name, such as `create_source("digits")`.

  Args:
    name: one of `SOURCES`.
    **settings: arguments of the source.

  Raises:
    UsageError: the name is unknown, a setting does not fit the source, or the
      data is not found.
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
