"""Images made elsewhere: an `.npz`, a zip or a folder, batch by batch."""

import hashlib
import io
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from get_jax.errors import UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm")


class ImageFiles:
  """A finite set of uint8 images.

  Attributes:
    name: Where they came from.
    count: Their number N.
    labels: (N,) integers where the file has them (`arr_1`), or None.
    names: File names in order, relative to the set; () for an npz.
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
    """Yields uint8 (B, H, W, C) in order, B = `size` but for the last."""
    return self._batches(size)

  def digest(self) -> str:
    """sha256 of shape and pixels, whatever file holds them."""
    found = hashlib.sha256()
    for batch in self.batches(256):
      found.update(repr(batch.shape[1:]).encode())
      found.update(np.ascontiguousarray(batch).tobytes())
    return found.hexdigest()


def open_images(path, channels: int = 3, within: str = "") -> ImageFiles:
  """Opens images for measuring.

  Args:
    path: One of: an `.npz` with `arr_0` uint8 (N, H, W, C) and perhaps labels
      `arr_1`, as ADM and DiT write (it is streamed, not loaded whole); a
      `.zip` of image files; a folder of image files, searched through. Files
      are taken in the order of their names and must be of one size.
    channels: 3 converts files to RGB; 1 takes grey files only.
    within: Part of a zip or folder to take, such as "train".

  Raises:
    UsageError: Nothing there, no images in it, wrong keys or types, or images
      of different sizes (while they are read).
  """
  path = pathlib.Path(path).expanduser()
  if path.is_dir():
    return _open_folder(path, channels, within)
  if not path.is_file():
    raise UsageError(
      f"no images at {path}, expected an .npz, a .zip or a folder"
    )
  try:
    archive = zipfile.ZipFile(path)
  except zipfile.BadZipFile as error:
    raise UsageError(
      f"{path} is neither a folder nor an .npz nor a .zip of images"
    ) from error
  if path.suffix == ".npz":
    return _open_npz(path, archive)
  return _open_zip(path, archive, channels, within)


def _open_npz(path, archive) -> ImageFiles:
  keys = [name.removesuffix(".npy") for name in archive.namelist()]
  if "arr_0" not in keys:
    raise UsageError(
      f"{path} holds the keys {keys}, expected 'arr_0' with uint8 images "
      "(N, H, W, C)"
    )
  with archive.open("arr_0.npy") as stream:
    shape, fortran, dtype = _read_header(stream)
  if dtype != np.uint8 or len(shape) != 4 or fortran:
    raise UsageError(
      f"'arr_0' of {path} is {dtype} of shape {shape}, expected uint8 "
      "(N, H, W, C)"
    )
  labels = None
  if "arr_1" in keys:
    with np.load(path, allow_pickle=False) as file:
      labels = file["arr_1"]

  def batches(size):
    each = int(np.prod(shape[1:]))
    with archive.open("arr_0.npy") as stream:
      _read_header(stream)
      for start in range(0, shape[0], size):
        count = min(size, shape[0] - start)
        content = stream.read(count * each)
        yield np.frombuffer(content, np.uint8).reshape(count, *shape[1:])

  return ImageFiles(path.name, shape[0], batches, labels)


def _read_header(stream):
  version = np.lib.format.read_magic(stream)
  if version == (1, 0):
    return np.lib.format.read_array_header_1_0(stream)
  return np.lib.format.read_array_header_2_0(stream)


def _open_zip(path, archive, channels, within) -> ImageFiles:
  names = archive.namelist()
  return _files(path, names, archive.read, channels, within)


def _open_folder(path, channels, within) -> ImageFiles:
  files = (x for x in path.rglob("*") if x.is_file())
  names = [x.relative_to(path).as_posix() for x in files]

  def read(name):
    return (path / name).read_bytes()

  return _files(path, names, read, channels, within)


def _files(path, names, read, channels, within) -> ImageFiles:
  folder = f"{within.strip('/')}/" if within else ""
  names = sorted(
    name
    for name in names
    if name.startswith(folder) and name.lower().endswith(SUFFIXES)
  )
  if not names:
    raise UsageError(
      f"no image files in {path / within}, expected some of "
      f"{', '.join(SUFFIXES)}"
    )

  def batches(size):
    shape = None
    for start in range(0, len(names), size):
      batch = []
      for name in names[start : start + size]:
        image = _decode(read(name), f"{path}/{name}", channels)
        shape = shape or image.shape
        if image.shape != shape:
          raise UsageError(
            f"{path}/{name} is {image.shape[0]}x{image.shape[1]} pixels, "
            f"expected {shape[0]}x{shape[1]} like {names[0]}: images of a set "
            "are of one size"
          )
        batch.append(image)
      yield np.stack(batch)

  name = f"{path.name}/{within}" if within else path.name
  return ImageFiles(name, len(names), batches, names=names)


def _decode(content, name, channels) -> np.ndarray:
  try:
    image = Image.open(io.BytesIO(content))
    image.load()
  except (UnidentifiedImageError, OSError) as error:
    raise UsageError(f"{name} cannot be read as an image ({error})") from error
  if channels == 3:
    return np.asarray(image.convert("RGB"))
  if image.mode != "L":
    raise UsageError(f"{name} is of mode {image.mode}, expected grey (L)")
  return np.asarray(image)[..., None]
