"""Images in a folder or zip: by class folder, or with EDM's dataset.json."""

import json
import os
import pathlib

import numpy as np

from get_jax.data.draws import coin
from get_jax.data.pixels import center_crop, decode, to_float
from get_jax.errors import UsageError
from get_jax.storage.files import Files

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".JPEG", ".JPG", ".PNG")


class ImageFiles:
  """Image files with labels, decoded when they are read.

  Args:
    files: where they are.
    names: of the images, in order.
    labels: class of each, or None.
    num_classes: how many there are, or None.
    image_size: side of the records; other images are cropped as by ADM.
    channels: 3, or 1 for grey.
    flip: mirrors half of the images, drawn anew each time.
  """

  def __init__(
    self,
    files: Files,
    names: list[str],
    labels: np.ndarray | None,
    num_classes: int | None,
    image_size: int,
    channels: int = 3,
    flip: bool = False,
  ):
    self.files, self.names, self.flip = files, names, flip
    self.labels = None if labels is None else np.asarray(labels, np.int32)
    self.num_classes = num_classes
    self.image_shape = (image_size, image_size, channels)
    self.fingerprint = (
      f"{files.root}/{files.under}:{len(names)}x{image_size}x{channels}"
    )

  def __len__(self) -> int:
    return len(self.names)

  def pixels(self, index: int) -> np.ndarray:
    """One image, uint8 (H, W, C).

    Raises:
      UsageError: its file is damaged; it is named.
    """
    name, (size, _, channels) = self.names[index], self.image_shape
    try:
      return center_crop(decode(self.files.read(name), channels), size)
    except UsageError:
      raise
    except Exception as error:  # Pillow raises nearly anything
      raise UsageError(
        f"{self.files.path(name)} is damaged or no image: {error}"
      ) from error

  def read(
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,), flipped by `draws` (n,) if at all."""
    pixels = np.stack([self.pixels(i) for i in indices.tolist()])
    if self.flip and draws is not None:
      mirrored = coin(draws)
      pixels[mirrored] = pixels[mirrored, :, ::-1]
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
) -> ImageFiles:
  """Images of a folder or zip, `<split>/<class>/<anything>.jpg`.

  Classes are numbered in the order of their folders' names.

  Args:
    path: the folder or zip.
    image_size: side of the records.
    split: a folder inside, such as "train"; "" takes the root.
    channels: 3, or 1 for grey.
    flip: mirrors half of the images.
    labels: False for images without classes, in folders or not.

  Raises:
    UsageError: there are none, or one lies outside of the class folders.
  """
  files = Files(path, split)
  names = [name for name in files.names if name.endswith(ENDINGS)]
  if not names:
    raise UsageError(f"{files.path('')} holds no images; expected .png or .jpg")
  if not labels:
    return ImageFiles(files, names, None, None, image_size, channels, flip)
  for name in names:
    if "/" not in name:
      raise UsageError(
        f"{files.path(name)} is in no class folder; expected "
        "<class>/<image>, or data.labels=False"
      )
  folders = [name.split("/", 1)[0] for name in names]
  classes, numbers = np.unique(folders, return_inverse=True)
  return ImageFiles(
    files, names, numbers, len(classes), image_size, channels, flip
  )


def edm_zip(
  path: str | os.PathLike[str],
  image_size: int | None = None,
  labels: bool = True,
  flip: bool = False,
) -> ImageFiles:
  """A data set in EDM's format: images and `dataset.json`, zipped or not.

  Args:
    path: the zip or folder that `dataset_tool.py` of EDM or StyleGAN wrote.
    image_size: None keeps theirs.
    labels: whether to use the labels, where there are any.
    flip: mirrors half of the images.

  Raises:
    UsageError: there are no images, or the labels are not one class each.
  """
  files = Files(path)
  names = [name for name in files.names if name.endswith(ENDINGS)]
  if not names:
    raise UsageError(f"{path} holds no images; expected .png files")
  first = decode(files.read(names[0]))
  channels = _channels(files, names[0])
  numbers = _labels(files, names) if labels else None
  count = None if numbers is None else int(numbers.max()) + 1
  return ImageFiles(
    files, names, numbers, count, image_size or len(first), channels, flip
  )


def _channels(files: Files, name: str) -> int:
  import io

  from PIL import Image

  with Image.open(io.BytesIO(files.read(name))) as image:
    return 1 if image.mode == "L" else 3


def _labels(files: Files, names: list[str]) -> np.ndarray | None:
  if "dataset.json" not in files.names:
    return None
  path = pathlib.Path(files.path("dataset.json"))
  try:
    listed = json.loads(files.read("dataset.json")).get("labels")
    if not listed:
      return None
    found = {name.replace("\\", "/"): label for name, label in listed}
  except (ValueError, TypeError, AttributeError) as error:
    raise UsageError(f"{path} is damaged: {error}") from error
  missing = [name for name in names if name not in found]
  if missing:
    raise UsageError(f"{path} has no label of {missing[0]}")
  numbers = [found[name] for name in names]
  if not all(isinstance(n, int) and n >= 0 for n in numbers):
    raise UsageError(
      f"{path} has labels that are no class numbers; expected one integer an "
      "image, or data.labels=False"
    )
  return np.asarray(numbers, np.int32)
