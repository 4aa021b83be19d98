"""Reads images from any container, and decodes them.

Training sources, latents, evaluation and reference statistics share this
reader, so how a file becomes pixels, and what happens to a broken one, is
written once.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from get_jax.data.decoding import (
  DEFAULT,
  ENDINGS,
  Decoding,
  decode_image,
  is_image,
)
from get_jax.errors import UsageError
from get_jax.progress import ProgressBar
from get_jax.storage.files import Files

PIL_MODES = {1: "L", 3: "RGB"}
# Seconds of counting the broken images, once one has been found.
COUNTING_LIMIT = 60.0
CHUNK = 256  # images that are downloaded while as many are decoded
_counting = threading.Lock()


class EncodedImages(Protocol):
  """Encoded images of a container in a fixed order: a folder, zip, tar, ...

  Objects hold no open file that threads cannot share, and can be pickled.

  Attributes:
    location: path of the container, for messages and fingerprints.
    names: names of the images, in their order.
    skipped: number of files there that are no images, by reason or ending.
  """

  @property
  def location(self) -> str: ...  # noqa: D102

  @property
  def names(self) -> Sequence[str]: ...  # noqa: D102

  @property
  def skipped(self) -> Mapping[str, int]: ...  # noqa: D102

  def read(self, index: int) -> bytes:
    """Returns the encoded image.

    Raises:
      UsageError: it is missing or damaged.
    """

  def prefetch(self, indices: Iterable[int]) -> None:
    """Announces that images will be read: those of a bucket are downloaded."""

  def path(self, index: int) -> str:
    """Returns the full path of an image, for messages."""


class ImageFiles:
  """The image files of a folder or zip, in the order of their names.

  Files are images by their endings (`get_jax.data.decoding.ENDINGS`), in upper
  or lower case. Hidden files and system folders do not count.

  Args:
    files: the files; those in subfolders count too.

  Attributes:
    See `EncodedImages`; `names` are relative to the folder of `files`.

  Raises:
    UsageError: there are no image files.
  """

  def __init__(self, files: Files):
    self.files = files
    self.location = f"{files.root}/{files.folder}"
    self.names = [name for name in files.names if is_image(name)]
    self.skipped = count_skipped(files)
    if not self.names:
      usual = ".jpg, .png, .webp, .tif, .gif, .bmp"
      raise UsageError(
        f"{files.path()} contains no image files; expected some of {usual} or "
        f"another of the {len(ENDINGS)} endings that Pillow reads"
      )

  def read(self, index: int) -> bytes:
    """See `EncodedImages.read`."""
    return self.files.read(self.names[index])

  def prefetch(self, indices: Iterable[int]) -> None:
    """See `EncodedImages.prefetch`."""
    self.files.prefetch(self.names[index] for index in indices)

  def path(self, index: int) -> str:
    """See `EncodedImages.path`."""
    return self.files.path(self.names[index])


def count_skipped(files: Files) -> dict[str, int]:
  """Returns the number of files that are no images, by reason or ending."""
  counts = {"hidden": files.hidden} if files.hidden else {}
  for name in files.names:
    if not is_image(name):
      ending = pathlib.PurePath(name).suffix.lower() or "without ending"
      counts[ending] = counts.get(ending, 0) + 1
  return counts


def decode_named(content: bytes, path: str, decoding: Decoding) -> Image.Image:
  """Decodes an image; see `decode_image`.

  Raises:
    UsageError: it cannot be decoded; the message names `path`.
  """
  try:
    return decode_image(content, decoding)
  except UnidentifiedImageError:  # Its text is the address of an object.
    reason = "it is empty" if not content else "its format is unknown"
    raise UsageError(f"{path} cannot be read as an image ({reason})") from None
  except Exception as error:  # Pillow raises many types for damaged files.
    raise UsageError(f"{path} cannot be read as an image ({error})") from error


def to_pixels(image: Image.Image, channels: int) -> np.ndarray:
  """Returns an image as uint8 (H, W, channels): 3 for RGB, 1 for grey."""
  mode = PIL_MODES[channels]
  pixels = np.asarray(image if image.mode == mode else image.convert(mode))
  return pixels.reshape(*pixels.shape[:2], channels)


class ImageReader:
  """Decodes the images of a container.

  Threads may share a reader, and worker processes may receive it pickled.

  Args:
    images: the encoded images.
    decoding: how files become pixels.
    skip_broken: leaves out the images that cannot be decoded. All images are
      decoded once to find them.
    hint: what to do about broken images, at the end of the message.

  Attributes:
    names: names of the images.
    broken: the images that were left out: messages by name.

  Raises:
    UsageError: all images are broken.
  """

  def __init__(
    self,
    images: EncodedImages,
    decoding: Decoding = DEFAULT,
    skip_broken: bool = False,
    hint: str = "",
  ):
    self.images, self.decoding = images, decoding
    self.hint = hint
    self.broken: dict[str, str] = {}
    self.kept = np.arange(len(images.names))
    self._broken_sentence = ""
    if skip_broken:
      faults = self._find_broken(range(len(images.names)))
      self.broken = {images.names[i]: text for i, text in faults.items()}
      self.kept = np.delete(self.kept, list(faults))
      if not len(self.kept):
        raise UsageError(
          f"all {len(images.names)} images of {images.location} are broken; "
          f"the first: {next(iter(faults.values()))}"
        )
    self.names = [images.names[i] for i in self.kept.tolist()]

  def __len__(self) -> int:
    return len(self.kept)

  @property
  def fingerprint(self) -> str:
    """Identifies the settings and the images that are left out.

    It is "" for the decoding of versions without settings.
    """
    text = self.decoding.suffix
    if self.broken:
      missing = np.delete(np.arange(len(self.images.names)), self.kept)
      digest = hashlib.sha256(missing.astype("<i8").tobytes()).hexdigest()
      text += f";without {len(missing)} ({digest[:16]})"
    return text

  def path(self, index: int) -> str:
    """Returns the full path of an image, for messages."""
    return self.images.path(int(self.kept[index]))

  def prefetch(self, indices: Iterable[int]) -> None:
    """Announces that images will be decoded; see `EncodedImages.prefetch`."""
    self.images.prefetch(int(self.kept[index]) for index in indices)

  def encoded(self, index: int) -> bytes:
    """Returns the bytes of the file of an image."""
    return self.images.read(int(self.kept[index]))

  def shape(self, index: int) -> tuple[int, int, int]:
    """Returns (H, W, C) of an image: C is 1 for grey without alpha, else 3.

    Raises:
      UsageError: the image cannot be decoded.
    """
    image = self._decode(int(self.kept[index]))
    return image.height, image.width, 1 if image.mode == "L" else 3

  def decode(
    self, index: int, channels: int = 3, convert_to_grey: bool = True
  ) -> np.ndarray:
    """Decodes an image.

    Args:
      index: position in `names`.
      channels: 3 converts every image to RGB; 1 returns grey.
      convert_to_grey: with one channel, converts colour images to grey; False
        rejects them, unless all pixels are grey.

    Returns:
      uint8 (H, W, channels).

    Raises:
      UsageError: the image cannot be decoded, or is rejected.
    """
    position = int(self.kept[index])
    try:
      image = self._decode(position)
    except UsageError as error:
      raise UsageError(f"{error}; {self._count_broken(position)}") from error
    if channels == 1 and image.mode != "L" and not convert_to_grey:
      pixels = np.asarray(image)
      if (pixels != pixels[..., :1]).any():
        raise UsageError(
          f"{self.images.path(position)} is of mode {image.mode}, expected "
          "grey (L)"
        )
    return to_pixels(image, channels)

  def _decode(self, position: int) -> Image.Image:
    content = self.images.read(position)
    return decode_named(content, self.images.path(position), self.decoding)

  def _find_broken(
    self, positions: Iterable[int], limit: float = float("inf")
  ) -> dict[int, str]:
    """Decodes images in threads, for a limited number of seconds.

    Returns:
      Messages about the broken ones, by position.
    """
    start = time.monotonic()
    faults: dict[int, str] = {}

    def check(position: int) -> None:
      if position % CHUNK == 0:
        stop = min(position + 2 * CHUNK, len(self.images.names))
        self.images.prefetch(range(position, stop))
      if time.monotonic() - start < limit:
        try:
          self._decode(position)
        except UsageError as error:
          faults[position] = str(error)

    positions = list(positions)
    threads = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
      results = pool.map(check, positions)
      title = f"decoding {self.images.location}"
      for _ in ProgressBar(results, title, len(positions)):
        pass
    return dict(sorted(faults.items()))

  def _count_broken(self, position: int) -> str:
    """Returns a sentence about all broken images, one of which is known."""
    with _counting:  # Threads may find broken images at the same time.
      if not self._broken_sentence:
        everything = range(len(self.images.names))
        faults = self._find_broken(everything, COUNTING_LIMIT)
        broken = sorted({position, *faults})
        names = [self.images.names[i] for i in broken]
        shown = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
        self._broken_sentence = (
          f"{len(names)} of the {len(everything)} images of "
          f"{self.images.location} are broken ({shown}); expected whole "
          f"images{self.hint}"
        )
      return self._broken_sentence


def summarize(
  reader: ImageReader,
  labels: np.ndarray | None,
  classes: Sequence[str],
) -> dict[str, Any]:
  """Returns what a data set consists of, JSON-serializable.

  Args:
    reader: the images.
    labels: class of each image, (N,), or None.
    classes: names of the classes.
  """
  counts = np.bincount(
    np.zeros(0, int) if labels is None else labels, minlength=len(classes)
  )
  return {
    "location": reader.images.location,
    "images": len(reader),
    "broken": reader.broken,
    "skipped": dict(reader.images.skipped),
    "classes": dict(zip(classes, counts.tolist(), strict=True)),
    "orientation": reader.decoding.orientation,
    "background": list(reader.decoding.background),
  }
