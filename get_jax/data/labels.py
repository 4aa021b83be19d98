"""Numbers the classes of a data set, from folders or stored values."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from get_jax.errors import UsageError, shorten
from get_jax.storage.files import Files

# A larger class number is damage: every class up to it gets a name.
MAX_CLASSES = 2**20
# Folders with these names are splits of a data set and not classes.
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test"})


class Labels(NamedTuple):
  """Classes of images.

  Attributes:
    numbers: class of each image, int32 (N,).
    names: names of the classes, in the order of their numbers.
  """

  numbers: np.ndarray
  names: Sequence[str]


def number_classes(
  values: Sequence[Any], where: str, num_classes: int | None = None
) -> Labels:
  """Numbers classes that are stored as numbers or as names.

  Args:
    values: class of each image: integers from 0 and below `MAX_CLASSES`, which
      are kept, or strings, which are numbered in the order of their names.
    where: what contains them, for messages.
    num_classes: number of classes; None takes those that occur.

  Raises:
    UsageError: the values are neither, or there are more classes.
  """
  if all(isinstance(v, str) for v in values):
    names, numbers = np.unique(np.asarray(values, str), return_inverse=True)
    classes = [str(name) for name in names]
  elif all(_is_class(v) for v in values):
    numbers = np.asarray(values, np.int32)
    classes = [str(i) for i in range(int(numbers.max()) + 1)]
  else:
    odd = next(v for v in values if not _is_class(v))
    raise UsageError(
      f"{where} has the label {shorten(odd)}; expected an integer from 0 to "
      f"{MAX_CLASSES - 1:,} or a name for every image, or data.labels=False"
    )
  if num_classes is not None:
    if len(classes) > num_classes:
      raise UsageError(
        f"{where} has {len(classes)} classes; data.num_classes is {num_classes}"
      )
    classes += [str(i) for i in range(len(classes), num_classes)]
  return Labels(numbers.astype(np.int32), classes)


def _is_class(value: object) -> bool:
  return type(value) is int and 0 <= value < MAX_CLASSES


def strip_top_folder(files: Files, images: Sequence[str]) -> Files:
  """Returns the files without common top folders, which are no classes.

  A zip of a whole folder has one. The folder of the only class stays.

  Args:
    files: the files.
    images: names of those that are images.
  """
  while True:
    tops = {name for name in files.folders if "/" not in name}
    in_tops = {name.split("/", 1)[0] for name in images if "/" in name}
    below = any(name.count("/") >= 2 for name in images)
    loose = any("/" not in name for name in images)
    if loose or len(tops) != 1 or in_tops != tops or not below:
      return files
    (top,) = tops
    files = files.narrow(top)
    images = [name.removeprefix(f"{top}/") for name in images]


def label_folders(files: Files, images: Sequence[str]) -> Labels:
  """Numbers the top folders of a data set in the order of their names.

  Args:
    files: the files.
    images: names of those that are images, `<class>/<anything>`.

  Raises:
    UsageError: an image is in no folder, a folder contains no image, or the
      folders are splits.
  """
  for name in images:
    if "/" not in name:
      raise UsageError(
        f"{files.path(name)} is in no class folder; expected "
        "<class>/<image>, or data.labels=False"
      )
  folders = [name.split("/", 1)[0] for name in images]
  classes, numbers = np.unique(folders, return_inverse=True)
  names = [str(name) for name in classes]
  for folder in files.folders:
    if "/" not in folder and folder not in names:
      raise UsageError(
        f"the class folder {files.path(folder)} contains no images; expected "
        "at least one in every class folder (remove the folder if it is none)"
      )
  splits = [name for name in names if name.lower() in SPLITS]
  if len(splits) == len(names) > 1:
    raise UsageError(
      f"{files.path()} contains the splits {', '.join(splits)} and no classes; "
      f"expected data.split, such as data.split={splits[0]!r}"
    )
  return Labels(numbers.astype(np.int32), names)
