"""Decodes image files: orientation, transparency and 16 bits to 8-bit pixels.

Pillow decodes the file. What its `convert` would lose or clip is handled first.
"""

import dataclasses
import io
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from get_jax.errors import UsageError
from get_jax.storage.expansion import check_expansion

# Images with more pixels are bounded by the size of their file. Pillow warns
# above this number, and refuses twice as many.
MAX_PIXELS = 2**30 // 4 // 3
ORIENTATIONS = ("exif", "ignore")
BACKGROUND = (255, 255, 255)

# Formats that Pillow only identifies, passes on to other programs (EPS to
# Ghostscript) or decodes on Windows only.
_EXCLUDED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
_ORIENTATION_TAG = 274
_TRANSPOSITIONS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
# Pillow decodes 16-bit colour to its high bytes. With the other byte order it
# decodes the low bytes. Grey with alpha is read as four bytes per pixel.
_LOW_BYTES = {
  f"{channels};{order}": f"{channels};{other}"
  for channels in ("RGB", "RGBX", "RGBA")
  for order, other in (
    ("16B", "16L"),
    ("16L", "16B"),
    ("16N", "16B" if sys.byteorder == "little" else "16L"),
  )
} | {"LA;16B": "RGBA"}
_WHITE_IS_ZERO = (262, 0)  # tag and value of PhotometricInterpretation in TIFF
# Pillow scales grey levels of 2 and 4 bits, but not the transparent one.
_GREY_FACTORS = {"L;2": 85, "L;4": 17}


def _readable_formats() -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns the formats that are read, and the endings of their files."""
  Image.init()
  formats = [name for name in Image.OPEN if name not in _EXCLUDED]
  endings = [
    ending
    for ending, name in Image.registered_extensions().items()
    if name in formats or name == "MPO"  # opened as JPEG
  ]
  # Most files are JPEG or PNG; Pillow tries the formats in this order.
  formats.sort(key=lambda name: name not in ("JPEG", "PNG"))
  return tuple(formats), tuple(sorted(endings))


FORMATS, ENDINGS = _readable_formats()


def is_image(name: str) -> bool:
  """Returns whether a file is an image by its ending, in either case."""
  return name.lower().endswith(ENDINGS)


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How image files become pixels, where programs differ.

  Attributes:
    orientation: "exif" turns an image upright, as its EXIF data says; "ignore"
      keeps it as stored, as torchvision, ADM, DiT and EDM do.
    background: colour (R, G, B) under transparent pixels, 0 to 255; () drops
      the transparency and shows the colours that it hides, as those programs
      do.
  """

  orientation: str = "exif"
  background: Sequence[int] = BACKGROUND

  def __post_init__(self):
    if self.orientation not in ORIENTATIONS:
      raise UsageError(
        f"data.orientation is {self.orientation!r}; expected 'exif' or 'ignore'"
      )
    background = self.background
    if not _is_colour_or_empty(background):
      raise UsageError(
        f"data.background is {background!r}; expected three integers from 0 to "
        "255, or () to drop the transparency"
      )
    object.__setattr__(self, "background", tuple(background))

  @property
  def suffix(self) -> str:
    """Identifies the settings in fingerprints; "" drops what EXIF says.

    Fingerprints of images that were read before these settings existed had no
    suffix, and stay valid for the settings that decode alike.
    """
    if self == ORIGINAL:
      return ""
    background = ",".join(map(str, self.background))
    return f";{self.orientation};{background}"


def _is_colour_or_empty(value: object) -> bool:
  if not isinstance(value, tuple | list):
    return False
  levels = [v for v in value if type(v) is int and 0 <= v <= 255]
  return len(levels) == len(value) and len(value) in (0, 3)


DEFAULT = Decoding()
# As torchvision, ADM, DiT and EDM decode.
ORIGINAL = Decoding("ignore", ())


def decode_image(content: bytes, decoding: Decoding) -> Image.Image:
  """Decodes an image file; of an animation, the first frame.

  16 bits a channel are divided by 257 and rounded.

  Args:
    content: the bytes of the file.
    decoding: the settings.

  Returns:
    An image of mode L or RGB.

  Raises:
    Exception: the file is damaged or of an unknown format; Pillow raises many
      types.
  """
  file = Image.open(io.BytesIO(content), formats=FORMATS)
  pixels = file.width * file.height
  if pixels > MAX_PIXELS:
    check_expansion(len(content), pixels * len(file.getbands()))
  rawmode = _rawmode(file)
  file.load()
  if file.mode in ("L", "RGB") and not (
    rawmode in _LOW_BYTES or "transparency" in file.info
  ):
    image: Image.Image = file
  else:
    image = _to_grey_or_rgb(file, content, rawmode, decoding.background)
  if decoding.orientation == "exif":
    transposition = _TRANSPOSITIONS.get(_orientation(file))
    if transposition is not None:
      image = image.transpose(transposition)
  return image


def _rawmode(file: ImageFile.ImageFile) -> str:
  """Returns how the pixels are stored, such as "RGB;16B"; "" if unknown."""
  args = file.tile[0].args if file.tile else ""
  first = args[0] if isinstance(args, tuple) and args else args
  return first if isinstance(first, str) else ""


def _orientation(file: ImageFile.ImageFile) -> int:
  """Returns the orientation in the EXIF data of a loaded file, 1 to 8."""
  try:
    return file.getexif().get(_ORIENTATION_TAG, 1)
  except Exception:  # Damaged EXIF data does not make the pixels unreadable.
    return 1


def _to_grey_or_rgb(
  file: ImageFile.ImageFile,
  content: bytes,
  rawmode: str,
  background: Sequence[int],
) -> Image.Image:
  """Converts a loaded file of any mode to L or RGB."""
  values = _values_of_16_bits(file, content, rawmode)
  if values is not None:
    image = Image.fromarray(((values + np.uint32(128)) // 257).astype(np.uint8))
  elif file.mode in ("I", "F"):
    raise ValueError(f"mode {file.mode}; expected 8 or 16 bits a channel")
  else:
    image = file.convert("L") if file.mode == "1" else file
  key = file.info.get("transparency")
  if image.mode in ("L", "RGB") and isinstance(key, int | tuple):
    # A grey level or colour that is transparent.
    if values is None:
      values = np.asarray(image)
    transparent = values == np.multiply(key, _GREY_FACTORS.get(rawmode, 1))
    if image.mode == "RGB":
      transparent = transparent.all(-1)
    opacity = Image.fromarray(np.uint8(255) * ~transparent)
  elif image.has_transparency_data:
    image = image.convert("LA" if image.mode == "LA" else "RGBA")
    opacity = image.getchannel("A")
    image = image.convert(image.mode[:-1])
  else:
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
  if not background:
    return image
  if image.mode == "L" and len(set(background)) > 1:
    image = image.convert("RGB")
  colour = background[0] if image.mode == "L" else tuple(background)
  canvas = Image.new(image.mode, image.size, colour)
  canvas.paste(image, mask=opacity)
  return canvas


def _values_of_16_bits(
  file: ImageFile.ImageFile, content: bytes, rawmode: str
) -> np.ndarray | None:
  """Returns the pixels of a loaded file in 0..65535, (H, W) or (H, W, C).

  Returns None for a file of 8 bits or fewer a channel.
  """
  if file.mode.startswith("I;16") or (
    file.mode == "I" and file.format == "PPM"
  ):
    values = np.asarray(file).astype(np.uint32)
    if rawmode == "I;12":
      values = (values * 65535 + 2047) // 4095
    tag, white_is_zero = _WHITE_IS_ZERO
    if isinstance(file, TiffImagePlugin.TiffImageFile) and (
      file.tag_v2.get(tag) == white_is_zero
    ):
      values = 65535 - values
    return values
  if rawmode not in _LOW_BYTES:
    return None
  low = Image.open(io.BytesIO(content), formats=FORMATS)
  low.tile = [_with_rawmode(tile, _LOW_BYTES[rawmode]) for tile in low.tile]
  low.load()
  values = np.asarray(low).astype(np.uint32)
  if rawmode == "LA;16B":
    grey_and_alpha = values[..., 0::2] * 256 + values[..., 1::2]
    return grey_and_alpha[..., [0, 0, 0, 1]]
  return np.asarray(file).astype(np.uint32) * 256 + values


def _with_rawmode(tile, rawmode: str):
  """Returns a tile of Pillow's with its pixels stored in another way."""
  args = tile.args
  return tile._replace(
    args=(rawmode, *args[1:]) if isinstance(args, tuple) else rawmode
  )
