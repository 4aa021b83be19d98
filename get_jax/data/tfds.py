"""Reads TensorFlow Datasets by name, without TensorFlow."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from get_jax.data.decoding import BACKGROUND, Decoding
from get_jax.data.image_reader import decode_named, to_pixels
from get_jax.data.pixels import (
  center_crop,
  height_and_width,
  random_flip,
  to_float,
)
from get_jax.data.record_files import RecordFiles
from get_jax.errors import UsageError
from get_jax.storage.objects import list_objects
from get_jax.storage.paths import is_remote
from get_jax.storage.random_access import CachedFile

if TYPE_CHECKING:
  import tensorflow_datasets as tfds


def find_builder(
  dataset: str, data_dir: str | None = None
) -> "tfds.core.DatasetBuilder":
  """Returns TFDS's builder of a data set, prepared or not.

  Args:
    dataset: its name, such as "cifar10" or "imagenet2012:5.1.0".
    data_dir: folder of prepared data sets; None is TFDS's default.

  Raises:
    UsageError: TFDS has no such data set.
  """
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder(dataset, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    raise UsageError(
      f"tfds has no data set {dataset!r}; expected one of its catalogue"
    ) from error
  if builder.is_prepared():
    # Only this builder sees files in a second format.
    return tfds.builder_from_directory(builder.data_path)
  return builder


class TfdsSource:
  """A prepared data set of TFDS, read by index.

  Args:
    dataset: its name, such as "cifar10" or "imagenet2012:5.1.0".
    image_size: side of the records, or (H, W); images of another size are
      cropped as in ADM.
    split: such as "train" or "train[:1000]".
    data_dir: folder of prepared data sets; None is TFDS's default.
    flip: mirrors each image with probability 1/2, anew in every epoch.
    labels: whether to use the labels.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.

  Raises:
    UsageError: the data set is not prepared, or is in a format that cannot be
      read by index; the message has the command that prepares it.
  """

  def __init__(
    self,
    dataset: str,
    image_size: int | Sequence[int],
    split: str = "train",
    data_dir: str | None = None,
    flip: bool = False,
    labels: bool = True,
    orientation: str = "exif",
    background: Sequence[int] = BACKGROUND,
  ):
    import tensorflow_datasets as tfds

    self.decoding = Decoding(orientation, background)
    builder = find_builder(dataset, data_dir)
    try:
      self.data = builder.as_data_source(split)
    except (AssertionError, NotImplementedError) as error:
      option = f" --data_dir={data_dir}" if data_dir else ""
      raise UsageError(
        f"tfds {dataset!r} is {_state(builder)} in {builder.data_path}; run: "
        f"python -m get_jax.data.prepare {dataset}{option}"
      ) from error
    except ValueError as error:
      raise UsageError(f"tfds {dataset!r}, split {split!r}: {error}") from error
    if is_remote(builder.data_path):
      # TFDS reads local files only.
      self.data.data_source = _cached_records(builder, split)
    # Images are decoded here. (TFDS's mock data rejects the argument above.)
    self.data.decoders = {"image": tfds.decode.SkipDecoding()}
    features = builder.info.features
    channels = (features["image"].shape or (None, None, 3))[-1] or 3
    self.flip = flip
    height, width = height_and_width(image_size)
    self.image_shape: tuple[int, int, int] = (height, width, channels)
    self.has_labels = labels and "label" in features
    self.num_classes: int | None = (
      features["label"].num_classes if self.has_labels else None
    )
    self.name = f"{builder.info.full_name}/{split}"
    size = height if height == width else f"{height}x{width}"
    self.fingerprint = f"{self.name}/{size}{self.decoding.suffix}"

  def __len__(self) -> int:
    return len(self.data)

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the records at `indices` (n,); see `Source.read`.

    `bits` (n,) decide the flips; without them no image is mirrored.
    """
    examples = [self.data[i] for i in indices.tolist()]
    *size, channels = self.image_shape
    images = [
      self._pixels(x["image"], i, channels)
      for i, x in zip(indices.tolist(), examples, strict=True)
    ]
    pixels = np.stack([center_crop(image, size) for image in images])
    if self.flip:
      pixels = random_flip(pixels, bits)
    records = {"image": to_float(pixels)}
    if self.has_labels:
      records["label"] = np.array([x["label"] for x in examples], np.int32)
    return records

  def _pixels(
    self, image: bytes | np.ndarray, index: int, channels: int
  ) -> np.ndarray:
    """Returns a stored image as uint8 (H, W, C)."""
    if isinstance(image, np.ndarray):  # of TFDS's mock data
      return image
    path = f"{self.name}, record {index}"
    return to_pixels(decode_named(image, path, self.decoding), channels)


def _cached_records(
  builder: "tfds.core.DatasetBuilder", split: str
) -> RecordFiles:
  """Returns the records of a split in a bucket, read through the cache."""
  files = list_objects(os.fspath(builder.data_path))
  parts = builder.info.splits[split].file_instructions
  names = [os.path.basename(part.filename) for part in parts]
  return RecordFiles(
    [CachedFile(files[name]) for name in names],
    [range(part.skip, part.skip + part.take) for part in parts],
  )


def _state(builder: "tfds.core.DatasetBuilder") -> str:
  if not builder.is_prepared():
    return "not prepared"
  file_format = builder.info.file_format.value
  return f"prepared as {file_format}, without access by index,"
