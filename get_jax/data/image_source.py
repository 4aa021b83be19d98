"""Training sources that read image files: by class folder, or in EDM's format.

`images` reads class folders; `edm_zip` reads images with a `dataset.json`.
"""

import json
import os

import numpy as np

from get_jax.data.image_reader import ImageReader
from get_jax.data.pixels import center_crop, random_flip, to_float
from get_jax.errors import UsageError


class ImageSource:
  """Image files with labels, decoded and cropped when they are read.

  Args:
    reader: the image files.
    labels: class of each file, (N,), or None.
    num_classes: number of classes, or None.
    image_size: side of the records; images of another size are cropped as in
      ADM.
    channels: 3, or 1 for grey.
    flip: mirrors each image with probability 1/2, anew in every epoch.
  """

  def __init__(
    self,
    reader: ImageReader,
    labels: np.ndarray | None,
    num_classes: int | None,
    image_size: int,
    channels: int = 3,
    flip: bool = False,
  ):
    self.reader, self.flip = reader, flip
    self.labels = None if labels is None else np.asarray(labels, np.int32)
    self.num_classes = num_classes
    self.image_shape = (image_size, image_size, channels)
    files = reader.files
    self.fingerprint = (
      f"{files.root}/{files.folder}:{len(reader)}x{image_size}x{channels}"
    )

  @property
  def names(self) -> list[str]:
    """Names of the image files, in the order of the records."""
    return self.reader.names

  def __len__(self) -> int:
    return len(self.reader)

  def pixels(self, index: int) -> np.ndarray:
    """Returns the pixels of one image, uint8 (H, W, C), cropped.

    Raises:
      UsageError: the file cannot be read as an image.
    """
    size, _, channels = self.image_shape
    return center_crop(self.reader.decode(self.names[index], channels), size)

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the records at `indices` (n,); see `Source.read`.

    `bits` (n,) decide the flips; without them no image is mirrored.
    """
    pixels = np.stack([self.pixels(i) for i in indices.tolist()])
    if self.flip:
      pixels = random_flip(pixels, bits)
    records = {"image": to_float(pixels)}
    if self.labels is not None:
      records["label"] = self.labels[indices]
    return records


def images(
  path: str | os.PathLike[str],
  image_size: int,
  split: str = "",
  channels: int = 3,
  flip: bool = False,
  labels: bool = True,
) -> ImageSource:
  """Reads the images of a folder or zip, `<split>/<class>/<anything>.jpg`.

  Classes are numbered in the order of their folders' names.

  Args:
    path: the folder or zip.
    image_size: side of the records.
    split: a folder inside, such as "train"; "" takes the root.
    channels: 3, or 1 for grey.
    flip: mirrors each image with probability 1/2.
    labels: False for images without classes, in folders or not.

  Raises:
    UsageError: there are no images, or an image is outside the class folders.
  """
  reader = ImageReader(path, split)
  if not labels:
    return ImageSource(reader, None, None, image_size, channels, flip)
  for name in reader.names:
    if "/" not in name:
      raise UsageError(
        f"{reader.path(name)} is in no class folder; expected "
        "<class>/<image>, or data.labels=False"
      )
  folders = [name.split("/", 1)[0] for name in reader.names]
  classes, numbers = np.unique(folders, return_inverse=True)
  return ImageSource(reader, numbers, len(classes), image_size, channels, flip)


def edm_zip(
  path: str | os.PathLike[str],
  image_size: int | None = None,
  labels: bool = True,
  flip: bool = False,
) -> ImageSource:
  """Reads a data set in EDM's format: images and `dataset.json`, zipped or not.

  Args:
    path: the zip or folder that `dataset_tool.py` of EDM or StyleGAN wrote.
    image_size: side of the records; None keeps that of the files.
    labels: whether to use the labels, if there are any.
    flip: mirrors each image with probability 1/2.

  Raises:
    UsageError: there are no images, the first one cannot be read, or the
      labels are not one class per image.
  """
  reader = ImageReader(path)
  height, _, channels = reader.shape(reader.names[0])
  numbers = _edm_labels(reader) if labels else None
  count = None if numbers is None else int(numbers.max()) + 1
  return ImageSource(
    reader, numbers, count, image_size or height, channels, flip
  )


def _edm_labels(reader: ImageReader) -> np.ndarray | None:
  """Returns the labels in `dataset.json`, int32 (N,), or None without any."""
  if "dataset.json" not in reader.files.names:
    return None
  path = reader.path("dataset.json")
  try:
    entries = json.loads(reader.files.read("dataset.json")).get("labels")
    if not entries:
      return None
    labels = {name.replace("\\", "/"): label for name, label in entries}
  except (ValueError, TypeError, AttributeError) as error:
    raise UsageError(f"{path} is damaged: {error}") from error
  missing = [name for name in reader.names if name not in labels]
  if missing:
    raise UsageError(f"{path} has no label of {missing[0]}")
  numbers = [labels[name] for name in reader.names]
  if not all(isinstance(n, int) and n >= 0 for n in numbers):
    raise UsageError(
      f"{path} has labels that are no class numbers; expected one integer an "
      "image, or data.labels=False"
    )
  return np.asarray(numbers, np.int32)
