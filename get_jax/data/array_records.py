"""Reads ArrayRecord files of tf.train.Example or of encoded images.

TFDS's data sets have their own source, `get_jax.data.tfds`. Records are parsed
as protocol buffers or as images; nothing is unpickled.
"""

import concurrent.futures
import os
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from get_jax.data.decoding import BACKGROUND, Decoding
from get_jax.data.image_source import ImageSource
from get_jax.data.labels import number_classes
from get_jax.data.record_files import RecordFiles
from get_jax.data.shard_files import find_shards
from get_jax.errors import UsageError
from get_jax.progress import ProgressBar
from get_jax.storage.random_access import RandomAccessFile

# Usual keys, in the order in which they are tried.
IMAGE_KEYS = ("image", "image/encoded", "jpg", "jpeg", "png")
LABEL_KEYS = ("label", "image/class/label", "cls", "class")


class RecordImages:
  """Images in ArrayRecord files; see `EncodedImages`.

  Args:
    shards: the files.
    location: what names all of them, for messages.
    image_key: feature of the encoded image; "" tries `IMAGE_KEYS`.
    label_key: feature of the label; "" tries `LABEL_KEYS`.

  Raises:
    UsageError: a file is damaged, or there are no records.
  """

  def __init__(
    self,
    shards: Sequence[RandomAccessFile],
    location: str,
    image_key: str = "",
    label_key: str = "",
  ):
    try:
      self._records = RecordFiles(shards)
    except (ValueError, RuntimeError, OSError) as error:
      raise UsageError(
        f"{location} cannot be read as ArrayRecord ({error})"
      ) from error
    if not len(self._records):
      raise UsageError(f"the ArrayRecord files of {location} have no records")
    self.location = location
    self.names = [f"record {i}" for i in range(len(self._records))]
    self.skipped: dict[str, int] = {}
    self._image_keys = (image_key,) if image_key else IMAGE_KEYS
    self._label_keys = (label_key,) if label_key else LABEL_KEYS

  def read(self, index: int) -> bytes:
    """See `EncodedImages.read`."""
    record = self._record(index)
    features = parse_example(record)
    if features is None:
      return record
    image = _first(features, self._image_keys)
    if not isinstance(image, bytes):
      raise UsageError(
        f"{self.path(index)} has the features {sorted(features)}; expected an "
        f"encoded image in {' or '.join(self._image_keys)} (data.image_key)"
      )
    return image

  def prefetch(self, indices: Iterable[int]) -> None:
    """See `EncodedImages.prefetch`; whole files are downloaded."""

  def label(self, index: int) -> int | str:
    """Returns the label of a record: a class number or a name.

    Raises:
      UsageError: it has none.
    """
    features = parse_example(self._record(index)) or {}
    label = _first(features, self._label_keys)
    if not isinstance(label, int | bytes):
      raise UsageError(
        f"{self.path(index)} has the features {sorted(features)}; expected a "
        f"label in {' or '.join(self._label_keys)} (data.label_key), or "
        "data.labels=False"
      )
    return label if isinstance(label, int) else label.decode("utf-8", "replace")

  def path(self, index: int) -> str:
    """See `EncodedImages.path`."""
    return f"{self.location}, {self.names[index]}"

  def _record(self, index: int) -> bytes:
    try:
      return self._records[index]
    except (ValueError, RuntimeError, OSError, IndexError) as error:
      raise UsageError(f"{self.path(index)} cannot be read: {error}") from error


def parse_example(record: bytes) -> dict[str, Any] | None:
  """Returns the first value of each feature of a serialized tf.train.Example.

  Returns None if the record is none.
  """
  from tensorflow_datasets.proto import tf_example_pb2

  try:
    example = tf_example_pb2.Example.FromString(record)
  except DecodeError:
    return None
  features = {}
  for name, feature in example.features.feature.items():
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    features[name] = values[0] if values else None
  return features or None


def _first(features: dict[str, Any], keys: Sequence[str]) -> Any:
  return next((features[key] for key in keys if key in features), None)


def array_record(
  path: str | os.PathLike[str],
  image_size: int | Sequence[int],
  split: str = "",
  channels: int = 3,
  flip: bool = False,
  labels: bool = True,
  num_classes: int | None = None,
  image_key: str = "",
  label_key: str = "",
  orientation: str = "exif",
  background: Sequence[int] = BACKGROUND,
  skip_broken: bool = False,
) -> ImageSource:
  """Reads ArrayRecord files of tf.train.Example, or of encoded images alone.

  The labels are read once at the start, and every record for it.

  Args:
    path: a file; a folder of files with "array_record" in their names; or a
      pattern such as `train.array_record-*`.
    image_size: side of the records, or (H, W).
    split: a folder inside the folder, such as "train".
    channels: 3, or 1 for grey.
    flip: mirrors each image with probability 1/2.
    labels: whether to use the labels: class numbers, or names, which are
      numbered in their order.
    num_classes: number of classes; None takes those that occur.
    image_key: feature of the encoded image; "" tries `IMAGE_KEYS`.
    label_key: feature of the label; "" tries `LABEL_KEYS`.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.
    skip_broken: leaves out the images that cannot be decoded.

  Raises:
    UsageError: the files do not exist or are damaged, or a record has no image
      or label.
  """
  decoding = Decoding(orientation, background)
  shards = find_shards(path, split, r"(?i)array_?record", "ArrayRecord file")
  location = os.path.join(path, split) if split else str(path)
  images = RecordImages(shards, location, image_key, label_key)
  classes = None
  if labels:
    count = len(images.names)
    with concurrent.futures.ThreadPoolExecutor() as pool:
      found = pool.map(images.label, range(count))
      title = f"reading the labels of {location}"
      values = list(ProgressBar(found, title, count))
    classes = number_classes(values, location, num_classes)
  return ImageSource(
    images, classes, image_size, channels, flip, decoding, skip_broken
  )
