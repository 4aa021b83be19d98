"""Lists the image files of a folder or zip, and decodes them.

Training sources and evaluation share this reader, so a rule about which files
are images, or how a file becomes pixels, is written once.
"""

import contextlib
import io
import os
from collections.abc import Iterator

import numpy as np
from PIL import Image

from get_jax.errors import UsageError
from get_jax.storage.files import Files

# In lower case; the case of a file's ending does not matter.
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm")
PIL_MODES = {1: "L", 3: "RGB"}


class ImageReader:
  """The image files of a folder or zip, in the order of their names.

  A reader holds no open file, so threads may share it and worker processes may
  receive it pickled.

  Args:
    path: the folder or zip; folders are searched recursively.
    folder: a folder inside it, such as "train"; "" reads all of it.

  Attributes:
    files: all files there.
    names: names of the image files, relative to `folder`.

  Raises:
    UsageError: the path is neither a folder nor a zip, or contains no image
      files.
  """

  def __init__(self, path: str | os.PathLike[str], folder: str = ""):
    self.files = Files(path, folder)
    self.names = [
      name for name in self.files.names if name.lower().endswith(ENDINGS)
    ]
    if not self.names:
      raise UsageError(
        f"{self.path()} contains no image files; expected some of "
        f"{', '.join(ENDINGS)}"
      )

  def __len__(self) -> int:
    return len(self.names)

  def path(self, name: str = "") -> str:
    """Returns the full path of a file, or of the folder, for messages."""
    return self.files.path(name)

  def shape(self, name: str) -> tuple[int, int, int]:
    """Returns (H, W, C) of an image file: C is 1 for 8-bit grey, else 3.

    Raises:
      UsageError: the file cannot be read as an image.
    """
    with self._open(name) as image:
      return image.height, image.width, 1 if image.mode == "L" else 3

  def decode(
    self, name: str, channels: int = 3, convert_to_grey: bool = True
  ) -> np.ndarray:
    """Decodes an image file.

    Args:
      name: one of `names`.
      channels: 3 converts every file to RGB; 1 returns grey.
      convert_to_grey: with one channel, converts colour files to grey; False
        rejects them.

    Returns:
      uint8 (H, W, channels).

    Raises:
      UsageError: the file cannot be read as an image, or is rejected.
    """
    mode = PIL_MODES[channels]
    with self._open(name) as image:
      if mode == "L" and image.mode != "L" and not convert_to_grey:
        raise UsageError(
          f"{self.path(name)} is of mode {image.mode}, expected grey (L)"
        )
      pixels = np.asarray(image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], channels)

  @contextlib.contextmanager
  def _open(self, name: str) -> Iterator[Image.Image]:
    content = self.files.read(name)
    try:
      with Image.open(io.BytesIO(content)) as image:
        image.load()
        yield image
    except UsageError:
      raise
    except Exception as error:  # Pillow raises many types for damaged files.
      raise UsageError(
        f"{self.path(name)} cannot be read as an image ({error})"
      ) from error
