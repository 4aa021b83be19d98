"""Training sources that read image files: by class folder, or in EDM's format.

`images` reads class folders or a `metadata.jsonl`; `edm_zip` reads images with
a `dataset.json`.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from get_jax.data.decoding import BACKGROUND, DEFAULT, Decoding
from get_jax.data.image_reader import (
  EncodedImages,
  ImageFiles,
  ImageReader,
  summarize,
)
from get_jax.data.labels import (
  MAX_CLASSES,
  Labels,
  label_folders,
  number_classes,
  strip_top_folder,
)
from get_jax.data.pixels import (
  center_crop,
  height_and_width,
  random_flip,
  to_float,
)
from get_jax.errors import UsageError
from get_jax.storage.files import Files
from get_jax.storage.json_files import parse_json

METADATA = "metadata.jsonl"
SAMPLE = 32  # files whose bytes identify a data set
SKIP_HINT = ", or data.skip_broken=True and a new workdir to leave them out"


class ImageSource:
  """Images with labels, decoded and cropped when they are read.

  Args:
    images: the encoded images.
    labels: classes of the images, or None.
    image_size: size of the records, an integer or (H, W); None takes that of
      the first image. Images of another size are cropped as in ADM.
    channels: 3, or 1 for grey; None takes those of the first image.
    flip: mirrors each image with probability 1/2, anew in every epoch.
    decoding: how files become pixels.
    skip_broken: leaves out the images that cannot be decoded.

  Attributes:
    names: names of the images, in the order of the records.
    labels: class of each image, (N,), or None.
    Others: see `Source`.

  Raises:
    UsageError: the first image cannot be decoded, if its size is needed.
  """

  def __init__(
    self,
    images: EncodedImages,
    labels: Labels | None,
    image_size: int | Sequence[int] | None,
    channels: int | None = 3,
    flip: bool = False,
    decoding: Decoding = DEFAULT,
    skip_broken: bool = False,
  ):
    self.reader = ImageReader(images, decoding, skip_broken, SKIP_HINT)
    self.flip = flip
    if image_size is None or channels is None:
      height, width, found_channels = self.reader.shape(0)
      image_size = image_size or (height, width)
      channels = channels or found_channels
    height, width = height_and_width(image_size)
    self.image_shape = (height, width, channels)
    self.classes: Sequence[str] = () if labels is None else labels.names
    self.num_classes = None if labels is None else len(self.classes)
    self.labels = None if labels is None else labels.numbers[self.reader.kept]
    size = height if height == width else f"{height}x{width}"
    self.fingerprint = (
      f"{images.location}:{len(self.reader)}x{size}x{channels}"
      f"{self.reader.fingerprint}"
    )

  @property
  def names(self) -> list[str]:
    """Names of the images, in the order of the records."""
    return self.reader.names

  def __len__(self) -> int:
    return len(self.reader)

  def summary(self) -> dict[str, Any]:
    """Returns what the source consists of; see `summarize`."""
    return summarize(self.reader, self.labels, self.classes)

  def content_digest(self) -> str:
    """Returns a SHA-256 of all names and labels and of some files.

    See `get_jax.data.content.Movable`.
    """
    labels = np.zeros(0) if self.labels is None else self.labels
    positions = np.linspace(0, len(self) - 1, min(len(self), SAMPLE))
    sample = positions.round().astype(int).tolist()
    self.reader.prefetch(sample)
    digest = hashlib.sha256()
    for part in (
      "\0".join(self.names).encode(),
      "\0".join(self.classes).encode(),
      labels.astype("<i4").tobytes(),
      *(self.reader.encoded(index) for index in sample),
    ):
      digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()

  def pixels(self, index: int) -> np.ndarray:
    """Returns the pixels of one image, uint8 (H, W, C), cropped.

    Raises:
      UsageError: the image cannot be decoded.
    """
    *size, channels = self.image_shape
    return center_crop(self.reader.decode(index, channels), size)

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the records at `indices` (n,); see `Source.read`.

    `bits` (n,) decide the flips; without them no image is mirrored.
    """
    self.reader.prefetch(indices.tolist())
    pixels = np.stack([self.pixels(i) for i in indices.tolist()])
    if self.flip:
      pixels = random_flip(pixels, bits)
    records = {"image": to_float(pixels)}
    if self.labels is not None:
      records["label"] = self.labels[indices]
    return records


def images(
  path: str | os.PathLike[str],
  image_size: int | Sequence[int],
  split: str = "",
  channels: int = 3,
  flip: bool = False,
  labels: bool = True,
  orientation: str = "exif",
  background: Sequence[int] = BACKGROUND,
  skip_broken: bool = False,
  label_key: str = "label",
) -> ImageSource:
  """Reads the images of a folder or zip, `<split>/<class>/<anything>.jpg`.

  Classes are numbered in the order of their folders' names. A single folder at
  the top, as in a zip of a whole folder, is no class. A `metadata.jsonl` with
  `file_name` and `label_key` on each line, as Hugging Face's `imagefolder` has
  it, takes precedence over the folders.

  Args:
    path: the folder or zip.
    image_size: side of the records, or (H, W).
    split: a folder inside, such as "train"; "" takes the root.
    channels: 3, or 1 for grey.
    flip: mirrors each image with probability 1/2.
    labels: False for images without classes, in folders or not.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.
    skip_broken: leaves out the images that cannot be decoded.
    label_key: key of the class in `metadata.jsonl`.

  Raises:
    UsageError: there are no images, an image is outside the class folders, a
      class folder contains no image, or metadata.jsonl is damaged or lacks an
      image.
  """
  decoding = Decoding(orientation, background)
  files = Files(path, split)
  found = ImageFiles(files)
  classes = None
  if labels:
    if METADATA not in files.names:
      files = strip_top_folder(files, found.names)
      found = ImageFiles(files)
    classes = _metadata_labels(found, label_key)
    if classes is None:
      classes = label_folders(files, found.names)
  return ImageSource(
    found, classes, image_size, channels, flip, decoding, skip_broken
  )


def edm_zip(
  path: str | os.PathLike[str],
  image_size: int | Sequence[int] | None = None,
  labels: bool = True,
  flip: bool = False,
  orientation: str = "exif",
  background: Sequence[int] = BACKGROUND,
  skip_broken: bool = False,
) -> ImageSource:
  """Reads a data set in EDM's format: images and `dataset.json`, zipped or not.

  Args:
    path: the zip or folder that `dataset_tool.py` of EDM or StyleGAN wrote.
    image_size: side of the records, or (H, W); None keeps that of the files.
    labels: whether to use the labels, if there are any.
    flip: mirrors each image with probability 1/2.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.
    skip_broken: leaves out the images that cannot be decoded.

  Raises:
    UsageError: there are no images, the first one cannot be read, or the
      labels are not one class per image.
  """
  decoding = Decoding(orientation, background)
  files = Files(path)
  described = [n for n in files.names if n.split("/")[-1] == "dataset.json"]
  if len(described) == 1:  # at the top, or in the folder that was zipped
    files = files.narrow(described[0].rpartition("/")[0])
  found = ImageFiles(files)
  classes = _edm_labels(found) if labels else None
  return ImageSource(
    found, classes, image_size, None, flip, decoding, skip_broken
  )


def _edm_labels(images: ImageFiles) -> Labels | None:
  """Returns the labels in `dataset.json`, or None without any."""
  if "dataset.json" not in images.files.names:
    return None
  path = images.files.path("dataset.json")
  try:
    entries = parse_json(images.files.read("dataset.json")).get("labels")
    if not entries:
      return None
    labels = {name.replace("\\", "/"): label for name, label in entries}
  except (ValueError, TypeError, AttributeError) as error:
    raise UsageError(f"{path} is damaged: {error}") from error
  missing = [name for name in images.names if name not in labels]
  if missing:
    raise UsageError(f"{path} has no label of {missing[0]}")
  numbers = [labels[name] for name in images.names]
  if not all(type(n) is int and 0 <= n < MAX_CLASSES for n in numbers):
    raise UsageError(
      f"{path} has labels that are no class numbers; expected one integer an "
      "image, or data.labels=False"
    )
  return number_classes(numbers, path)


def _metadata_labels(images: ImageFiles, key: str) -> Labels | None:
  """Returns the labels in `metadata.jsonl`, or None without any."""
  if METADATA not in images.files.names:
    return None
  path = images.files.path(METADATA)
  labels: dict[str, Any] = {}
  for number, line in enumerate(images.files.read(METADATA).splitlines(), 1):
    try:
      row = parse_json(line) if line.strip() else {}
      if key in row:
        labels[row["file_name"]] = row[key]
    except (ValueError, TypeError, KeyError) as error:
      raise UsageError(
        f"line {number} of {path} is damaged ({type(error).__name__}: "
        f'{error}); expected {{"file_name": ..., "{key}": ...}}'
      ) from error
  if not labels:
    return None
  names = set(images.names)
  for name in images.names:
    if name not in labels:
      raise UsageError(f"{path} has no {key!r} of {name}; expected one")
  for name in labels:
    if name not in names:
      raise UsageError(
        f"{path} names {name}, which is no image in {images.files.path()}"
      )
  return number_classes([labels[name] for name in images.names], path)
