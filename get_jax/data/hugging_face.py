"""Reads Hugging Face data sets on disk: Arrow or Parquet, through `datasets`.

Needs get_jax[hf]. No loading script is run. A folder of image files with a
`metadata.jsonl` needs no `datasets`: `get_jax.data.image_source.images` reads
it.
"""

import contextlib
import importlib.util
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from get_jax.data.decoding import BACKGROUND, Decoding
from get_jax.data.image_source import ImageSource
from get_jax.data.labels import Labels, number_classes
from get_jax.errors import UsageError, printable, reason
from get_jax.storage.files import Files
from get_jax.storage.paths import as_path, is_remote
from get_jax.storage.random_access import (
  RandomAccessFile,
  local_folder,
  open_file,
)

if TYPE_CHECKING:
  import datasets

# Usual columns, in the order in which they are tried.
IMAGE_COLUMNS = ("image", "img", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "fine_label", "cls", "class")


class HuggingFaceImages:
  """A column of images of a data set; see `EncodedImages`.

  Args:
    data: the data set.
    column: name of the column: images, {bytes, path}, or encoded bytes.
    location: path of the data set.
  """

  def __init__(self, data: "datasets.Dataset", column: str, location: str):
    import datasets

    if isinstance(data.features[column], datasets.Image):
      data = data.cast_column(column, datasets.Image(decode=False))
    self._data, self._column = data.select_columns([column]), column
    self.location = location
    self.names = [f"row {i}" for i in range(len(data))]
    self.skipped: dict[str, int] = {}

  def read(self, index: int) -> bytes:
    """See `EncodedImages.read`."""
    with _errors_of_files(self.path(index)):
      value = self._data[index][self._column]
    if isinstance(value, dict) and value.get("bytes") is None:
      name = value.get("path")
      if not name:
        raise UsageError(f"{self.path(index)} has no image")
      path = os.path.join(self.location, name)
      try:
        file = open_file(path)
        return file.read(0, file.size)
      except OSError as error:
        raise UsageError(
          f"{self.path(index)} refers to {printable(path)}, which cannot be "
          f"read: {reason(error)}"
        ) from error
    content = value["bytes"] if isinstance(value, dict) else value
    if not isinstance(content, bytes):
      raise UsageError(f"{self.path(index)} has no image")
    return content

  def prefetch(self, indices: Iterable[int]) -> None:
    """See `EncodedImages.prefetch`; whole files are downloaded."""

  def path(self, index: int) -> str:
    """See `EncodedImages.path`."""
    return f"{self.location}, {self.names[index]}"


def hugging_face(
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
  """Reads a Hugging Face data set on disk.

  Args:
    path: what `save_to_disk` wrote; a folder of Parquet files, such as a
      downloaded repository of the Hub; or a Parquet file.
    image_size: side of the records, or (H, W).
    split: such as "train"; "" if there is only one.
    channels: 3, or 1 for grey.
    flip: mirrors each image with probability 1/2.
    labels: whether to use the labels: class numbers, or names, which are
      numbered in their order.
    num_classes: number of classes; None takes those of the column's feature,
      or those that occur.
    image_key: column of the images; "" takes the only column of images, or
      tries `IMAGE_COLUMNS`.
    label_key: column of the labels; "" takes the only column of classes, or
      tries `LABEL_COLUMNS`.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.
    skip_broken: leaves out the images that cannot be decoded.

  Raises:
    UsageError: `datasets` is not installed, the path is no such data set, or
      the split or a column does not exist.
  """
  decoding = Decoding(orientation, background)
  if importlib.util.find_spec("datasets") is None:
    raise UsageError(
      "data of Hugging Face is read through datasets, which is not installed; "
      "run: pip install 'get_jax[hf]'"
    )
  import datasets

  root = os.fspath(as_path(path))
  data = _open(root, split)
  location = f"{root}/{split}" if split else root
  column = _find_column(
    data, image_key, datasets.Image, IMAGE_COLUMNS, location, "data.image_key"
  )
  classes = None
  if labels:
    label_column = _find_column(
      data,
      label_key,
      datasets.ClassLabel,
      LABEL_COLUMNS,
      location,
      "data.label_key, or data.labels=False",
    )
    classes = _labels(data, label_column, location, num_classes)
  images = HuggingFaceImages(data, column, location)
  return ImageSource(
    images, classes, image_size, channels, flip, decoding, skip_broken
  )


def _open(root: str, split: str) -> "datasets.Dataset":
  import datasets

  parquet = _find_parquet(root)
  with _errors_of_files(root):
    if parquet:
      files = _select_split(parquet, split, root)
      data = datasets.Dataset.from_parquet(
        [str(file.local_copy()) for file in files]
      )
    else:
      data = datasets.load_from_disk(str(local_folder(root)))
    if isinstance(data, datasets.DatasetDict):
      data = _select_split(dict(data), split, root)
    # Offsets of damaged files point anywhere; reading there ends the process.
    data.data.validate(full=True)
  return data.with_format(None)


@contextlib.contextmanager
def _errors_of_files(location: str) -> Iterator[None]:
  """Context in which any error of `datasets` is damage of the files.

  It logs them too; the sentence says enough.
  """
  import datasets

  level = datasets.logging.get_verbosity()
  datasets.logging.set_verbosity(datasets.logging.CRITICAL)
  try:
    yield
  except UsageError:
    raise
  except Exception as error:
    raise UsageError(
      f"{location} cannot be read as a data set of Hugging Face "
      f"({reason(error)}); expected the output of save_to_disk, or Parquet "
      "files"
    ) from error
  finally:
    datasets.logging.set_verbosity(level)


def _find_parquet(root: str) -> dict[str, list[RandomAccessFile]]:
  """Returns the Parquet files by split: `train-00000-of-00005.parquet`.

  Raises:
    UsageError: there is nothing.
  """
  try:
    return {"": [open_file(root)]}
  except IsADirectoryError:
    pass
  except FileNotFoundError:
    if not is_remote(root):
      raise UsageError(
        f"{root} does not exist; expected a data set on disk"
      ) from None
  files = Files(root)
  found: dict[str, list[RandomAccessFile]] = {}
  for name in files.names:
    if name.lower().endswith(".parquet"):
      path = pathlib.PurePosixPath(name)
      split = re.sub(r"-\d+(-of-\d+.*)?$", "", path.stem)
      if re.fullmatch(r"[\d_-]*|part", split):
        split = path.parent.name
      found.setdefault(split, []).append(files.open(name))
  return found


def _select_split(splits: dict[str, Any], split: str, root: str):
  if split in splits:
    return splits[split]
  if not split and len(splits) == 1:
    return next(iter(splits.values()))
  raise UsageError(
    f"data.split is {split!r}; expected one of those in {root}: "
    f"{', '.join(sorted(splits))}"
  )


def _find_column(
  data: "datasets.Dataset",
  key: str,
  feature: type,
  usual: Sequence[str],
  location: str,
  settings: str,
) -> str:
  """Returns the column `key`, the only one of a type, or a usual one."""
  typed = [n for n, f in data.features.items() if isinstance(f, feature)]
  candidates = [key] if key else typed if len(typed) == 1 else usual
  for name in candidates:
    if name in data.features:
      return name
  raise UsageError(
    f"{location} has the columns "
    f"{', '.join(map(printable, data.features))}; expected "
    f"{' or '.join(candidates)} ({settings})"
  )


def _labels(
  data: "datasets.Dataset", column: str, location: str, num_classes: int | None
) -> Labels:
  import datasets

  with _errors_of_files(location):
    values = data.select_columns([column])[:][column]
  feature = data.features[column]
  if isinstance(feature, datasets.ClassLabel):
    labels = number_classes(
      [-1 if v is None else v for v in values],
      location,
      num_classes or feature.num_classes,
    )
    if len(labels.names) == feature.num_classes and feature.names:
      return Labels(labels.numbers, feature.names)
    return labels
  return number_classes(list(values), location, num_classes)
