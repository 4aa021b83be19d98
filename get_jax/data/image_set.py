"""Opens finite sets of images to measure: an `.npz`, a zip or a folder."""

import contextlib
import hashlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from get_jax.data.image_reader import ImageFiles, ImageReader
from get_jax.errors import UsageError
from get_jax.storage.files import Files
from get_jax.storage.npz import (
  npz_headers,
  open_npz,
  read_array_header,
  read_npz,
)
from get_jax.storage.paths import Path, as_path
from get_jax.storage.random_access import RandomAccessFile, open_file


class ImageSet:
  """A finite set of uint8 images of one size, read in batches.

  Attributes:
    name: name of the file or folder, for messages and protocols.
    count: number of images N.
    labels: (N,) integers where the file has them (`arr_1`), or None.
    names: names of the files in order, relative to the folder or zip; () for
      an npz.
  """

  def __init__(
    self,
    name: str,
    count: int,
    batches: Callable[[int], Iterator[np.ndarray]],
    labels: np.ndarray | None = None,
    names: Sequence[str] = (),
  ):
    self.name, self.count = name, count
    self.labels, self.names = labels, tuple(names)
    self._batches = batches

  def batches(self, size: int) -> Iterator[np.ndarray]:
    """Yields uint8 (B, H, W, C) in order; B = `size` except in the last."""
    return self._batches(size)

  def digest(self) -> str:
    """Returns the SHA-256 of shape and pixels, independent of the format."""
    digest = hashlib.sha256()
    for batch in self.batches(256):
      digest.update(repr(batch.shape[1:]).encode())
      digest.update(np.ascontiguousarray(batch).tobytes())
    return digest.hexdigest()


def open_images(
  path: str | os.PathLike[str], channels: int = 3, within: str = ""
) -> ImageSet:
  """Opens a set of images.

  Args:
    path: one of: an `.npz` with `arr_0` uint8 (N, H, W, C) and optional labels
      `arr_1`, as ADM and DiT write (streamed, never loaded whole); a `.zip` of
      image files; a folder of image files, searched recursively. Files are
      taken in the order of their names and must be of one size.
    channels: 3 converts files to RGB; 1 accepts only files whose pixels are
      grey.
    within: a folder inside the zip or folder to take, such as "train".

  Raises:
    UsageError: the path does not exist, it contains no images, the npz has
      wrong keys or types, or (while the images are read) images differ in
      size or a file cannot be read as an image.
  """
  folder_or_file = as_path(path)
  if folder_or_file.is_dir():
    return _open_files(folder_or_file, channels, within)
  try:
    file = open_file(path)
  except FileNotFoundError:
    raise UsageError(
      f"no images at {path}, expected an .npz, a .zip or a folder"
    ) from None
  with file.open() as opened:
    is_zip = zipfile.is_zipfile(opened)
  if not is_zip:
    raise UsageError(
      f"{path} is neither a folder nor an .npz nor a .zip of images"
    )
  if folder_or_file.suffix == ".npz":
    return _open_npz(file)
  return _open_files(folder_or_file, channels, within)


def _open_npz(file: RandomAccessFile) -> ImageSet:
  with _damage_explained(file), file.open() as opened:
    headers = npz_headers(opened)
    labels = read_npz(opened, ["arr_1"]).get("arr_1")
  if "arr_0" not in headers:
    raise UsageError(
      f"{file.path} holds the keys {list(headers)}, expected 'arr_0' with "
      "uint8 images (N, H, W, C)"
    )
  header = headers["arr_0"]
  shape = header.shape
  if header.dtype != np.uint8 or len(shape) != 4 or header.fortran_order:
    raise UsageError(
      f"'arr_0' of {file.path} is {header.dtype} of shape {shape}, expected "
      "uint8 (N, H, W, C)"
    )

  def batches(size: int) -> Iterator[np.ndarray]:
    image_bytes = math.prod(shape[1:])
    with (
      _damage_explained(file),
      file.open() as opened,
      open_npz(opened) as archive,
      archive.open("arr_0.npy") as stream,
    ):
      read_array_header(stream)
      for start in range(0, shape[0], size):
        count = min(size, shape[0] - start)
        content = stream.read(count * image_bytes)
        yield np.frombuffer(content, np.uint8).reshape(count, *shape[1:])

  name = file.path.rpartition("/")[2]
  return ImageSet(name, shape[0], batches, labels)


@contextlib.contextmanager
def _damage_explained(file: RandomAccessFile) -> Iterator[None]:
  try:
    yield
  except UsageError:
    raise
  except (OSError, ValueError) as error:
    raise UsageError(f"{file.path} cannot be read ({error})") from error


def _open_files(path: Path, channels: int, within: str) -> ImageSet:
  files = Files(path, within)
  reader = ImageReader(ImageFiles(files))

  def batches(size: int) -> Iterator[np.ndarray]:
    shape = None
    for start in range(0, len(reader), size):
      batch = []
      indices = range(start, min(start + size, len(reader)))
      # Also those of the next batch, which are downloaded meanwhile.
      reader.prefetch(range(start, min(start + 2 * size, len(reader))))
      for index in indices:
        image = reader.decode(index, channels, convert_to_grey=False)
        shape = shape or image.shape
        if image.shape != shape:
          raise UsageError(
            f"{reader.path(index)} is {image.shape[0]}x{image.shape[1]} "
            f"pixels, expected {shape[0]}x{shape[1]} like {reader.names[0]}: "
            "images of a set are of one size"
          )
        batch.append(image)
      yield np.stack(batch)

  name = f"{path.name}/{within}" if within else path.name
  folder = f"{files.folder}/" if files.folder else ""
  names = [folder + file_name for file_name in reader.names]
  return ImageSet(name, len(reader), batches, names=names)
