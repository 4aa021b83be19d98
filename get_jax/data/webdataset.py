"""Reads WebDataset shards: tar files with samples of several files.

Files of a sample have one name up to the first dot, such as `0001.jpg` and
`0001.cls`. The headers of the shards are read once; images are then read by
index. Only images, `.cls` and `.json` are used, so nothing is unpickled.
"""

import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from get_jax.data.decoding import BACKGROUND, Decoding, is_image
from get_jax.data.image_source import ImageSource
from get_jax.data.labels import number_classes
from get_jax.data.shard_files import find_shards
from get_jax.errors import UsageError, printable, reason
from get_jax.progress import ProgressBar
from get_jax.storage.files import is_hidden
from get_jax.storage.json_files import parse_json
from get_jax.storage.random_access import RandomAccessFile

_BLOCK = 512  # bytes of a block of a tar file
MAX_LABEL = 2**20  # bytes of a .cls or .json


class TarImages:
  """Images in tar files, in the order of the files; see `EncodedImages`.

  Args:
    shards: the tar files.
    location: what names all of them, for messages.
    labels: whether to read the labels.
    label_key: key of the label in `.json` files.

  Attributes:
    values: label of each image as stored, if there are labels.
    Others: see `EncodedImages`.

  Raises:
    UsageError: a tar file is missing, damaged or compressed, a sample has no
      label or two images, or there are no images.
  """

  def __init__(
    self,
    shards: Sequence[RandomAccessFile],
    location: str,
    labels: bool = True,
    label_key: str = "label",
  ):
    self.location, self.shards = location, list(shards)
    self.names: list[str] = []
    self.skipped: dict[str, int] = {}
    self.values: list[Any] = []
    places = []
    for number, shard in enumerate(
      ProgressBar(self.shards, f"indexing {location}")
    ):
      for sample in _samples(shard, label_key, self.skipped):
        if sample.image is None:
          continue
        if labels and sample.label is None:
          raise UsageError(
            f"{shard.path} has no label of {printable(sample.image.name)}; "
            f"expected a .cls, or a .json with {label_key!r}, in every sample, "
            "or data.labels=False"
          )
        self.names.append(sample.image.name)
        self.values.append(sample.label)
        places.append((number, sample.image.offset_data, sample.image.size))
    if not places:
      raise UsageError(f"the tar files of {location} contain no images")
    self._places = np.array(places, np.int64)

  def read(self, index: int) -> bytes:
    """See `EncodedImages.read`."""
    shard, offset, size = self._places[index].tolist()
    try:
      return self.shards[shard].read(offset, offset + size)
    except OSError as error:
      raise UsageError(f"{self.path(index)} cannot be read: {error}") from error

  def prefetch(self, indices: Iterable[int]) -> None:
    """See `EncodedImages.prefetch`."""
    for shard, offset, size in self._places[list(indices)].tolist():
      self.shards[shard].prefetch(offset, offset + size)

  def path(self, index: int) -> str:
    """See `EncodedImages.path`."""
    name = printable(self.names[index])
    return f"{self.shards[self._places[index, 0]].path}/{name}"


class _Sample(NamedTuple):
  image: tarfile.TarInfo | None
  label: Any


def _samples(
  shard: RandomAccessFile, label_key: str, skipped: dict[str, int]
) -> Iterator[_Sample]:
  """Yields the samples of a tar file, and counts what is left out."""
  key, image, label = None, None, None
  for archive, member in _members(shard, skipped):
    folder, _, name = member.name.rpartition("/")
    stem, _, ending = name.partition(".")
    if (folder, stem) != key:
      if key is not None:
        yield _Sample(image, label)
      key, image, label = (folder, stem), None, None
    if "." not in ending and is_image(f".{ending}"):
      if image is not None:
        raise UsageError(
          f"{shard.path} has two images of one sample, "
          f"{printable(image.name)} and {printable(member.name)}; "
          "expected one"
        )
      image = member
    elif ending.lower() in ("cls", "json"):
      label = _read_label(archive, member, shard.path, label_key, label)
    else:
      ending = f".{ending.lower()}" if ending else "without ending"
      skipped[ending] = skipped.get(ending, 0) + 1
  if key is not None:
    yield _Sample(image, label)


def _members(
  shard: RandomAccessFile, skipped: dict[str, int]
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
  """Yields the visible files of a tar file."""
  try:
    with (
      shard.open() as opened,
      tarfile.open(fileobj=opened, mode="r:") as archive,
    ):
      for member in archive:
        member.name = os.path.normpath(member.name).lstrip("/")
        if not member.isreg() or member.issparse():
          continue
        if is_hidden(member.name):
          skipped["hidden"] = skipped.get("hidden", 0) + 1
          continue
        yield archive, member
      end = archive.offset
    last = shard.read(max(0, end - _BLOCK), max(0, end - _BLOCK) + 2 * _BLOCK)
    if bytes(_BLOCK) not in (last[:_BLOCK], last[_BLOCK:]):
      raise tarfile.ReadError("it ends before its last block")
  except UsageError:
    raise
  except (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    RecursionError,
    tarfile.TarError,
  ) as error:
    raise UsageError(
      f"{shard.path} cannot be read as a tar file ({reason(error)}); expected "
      "a whole one, not compressed"
    ) from error


def _read_label(
  archive: tarfile.TarFile,
  member: tarfile.TarInfo,
  shard: str,
  key: str,
  label: Any,
) -> Any:
  """Returns the label in a `.cls` or `.json` file; the former has priority."""
  if member.size > MAX_LABEL:
    raise UsageError(
      f"{shard}/{printable(member.name)} has {member.size:,} bytes; expected "
      f"a label of at most {MAX_LABEL:,}"
    )
  try:
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    text = content.decode("utf-8-sig").strip()
    if member.name.lower().endswith(".json"):
      found = parse_json(text)
      return found.get(key) if label is None else label
    return int(text) if text.isdigit() else text or None
  except (
    ValueError,
    AttributeError,
    LookupError,
    OSError,
    tarfile.TarError,
  ) as error:
    raise UsageError(
      f"{shard}/{printable(member.name)} is damaged: {reason(error)}"
    ) from error


def webdataset(
  path: str | os.PathLike[str],
  image_size: int | Sequence[int],
  split: str = "",
  channels: int = 3,
  flip: bool = False,
  labels: bool = True,
  num_classes: int | None = None,
  label_key: str = "label",
  orientation: str = "exif",
  background: Sequence[int] = BACKGROUND,
  skip_broken: bool = False,
) -> ImageSource:
  """Reads WebDataset tar files: an image and a `.cls` or `.json` per sample.

  Args:
    path: a tar file; a folder of them; or a pattern such as
      `train-{0000..0146}.tar` or `train-*.tar`.
    image_size: side of the records, or (H, W).
    split: a folder inside the folder, such as "train".
    channels: 3, or 1 for grey.
    flip: mirrors each image with probability 1/2.
    labels: whether to use the labels: class numbers, or names, which are
      numbered in their order.
    num_classes: number of classes; None takes those that occur.
    label_key: key of the label in `.json` files; `.cls` has priority.
    orientation: "exif" or "ignore"; see `Decoding`.
    background: colour under transparent pixels; see `Decoding`.
    skip_broken: leaves out the images that cannot be decoded.

  Raises:
    UsageError: see `TarImages`.
  """
  decoding = Decoding(orientation, background)
  shards = find_shards(path, split, r"(?i)\.tar$", "tar file")
  location = os.path.join(path, split) if split else str(path)
  images = TarImages(shards, location, labels, label_key)
  classes = None
  if labels:
    classes = number_classes(images.values, location, num_classes)
  return ImageSource(
    images, classes, image_size, channels, flip, decoding, skip_broken
  )
