"""From the bytes of an image file to 8-bit pixels."""

import io
import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image, features

from get_jax.data.decoding import ENDINGS, ORIGINAL, Decoding, decode_image
from get_jax.errors import UsageError

RNG = np.random.RandomState(0)
PIXELS = RNG.randint(0, 256, (4, 6, 3), np.uint8)


def encode(image, file_format="png", **options):
  file = io.BytesIO()
  image.save(file, file_format, **options)
  return file.getvalue()


def decode(content, **settings):
  image = decode_image(content, Decoding(**settings))
  assert image.mode in ("L", "RGB")
  return np.asarray(image.convert("RGB")).astype(int)


def png(values, color_type, transparent=b"", bits=16):
  """Encodes (H, W) or (H, W, C) of any bit depth, which Pillow cannot."""

  def chunk(name, content):
    crc = zlib.crc32(name + content)
    return (
      struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)
    )

  height, width = values.shape[:2]
  if bits == 16:
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
  else:
    levels = np.unpackbits(values.astype(np.uint8)[..., None], -1)
    rows = np.packbits(levels[..., 8 - bits :].reshape(height, -1), -1)
  raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1).tobytes()
  header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
  parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
  if transparent:
    parts.append(chunk(b"tRNS", transparent))
  parts += [chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
  return b"".join(parts)


# How rows and columns of the upright image are stored, by orientation.
STORED = {
  1: lambda x: x,
  2: lambda x: x[:, ::-1],
  3: lambda x: x[::-1, ::-1],
  4: lambda x: x[::-1],
  5: lambda x: x.swapaxes(0, 1),
  6: lambda x: x.swapaxes(0, 1)[::-1],
  7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
  8: lambda x: x.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["png", "webp", "jpeg", "tiff"])
def test_images_are_turned_upright(file_format, orientation):
  smooth = np.add.outer(np.arange(16) * 9, np.arange(24) * 4)[..., None]
  upright = np.repeat(smooth, 3, -1).astype(np.uint8)
  stored = np.ascontiguousarray(STORED[orientation](upright))
  exif = Image.Exif()
  exif[274] = orientation
  options = {"webp": {"lossless": True}, "jpeg": {"quality": 100}}
  content = encode(
    Image.fromarray(stored),
    file_format,
    exif=exif,
    **options.get(file_format, {}),
  )
  atol = 3 if file_format == "jpeg" else 0
  np.testing.assert_allclose(decode(content), upright, atol=atol)
  if file_format != "tiff":  # Pillow itself turns it.
    kept = decode(content, orientation="ignore")
    np.testing.assert_allclose(kept, stored, atol=atol)


def test_damaged_exif_data_does_not_matter():
  content = encode(Image.fromarray(PIXELS), exif=b"Exif\0\0MM\0*\xff\xff\xff")
  np.testing.assert_array_equal(decode(content), PIXELS)


def over(colours, opacity, background):
  share = opacity[..., None] / 255
  return np.round(colours * share + np.array(background) * (1 - share))


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (9, 99, 3)])
def test_transparency_is_composited_over_the_background(background):
  opacity = RNG.choice([0, 128, 255], (4, 6)).astype(np.uint8)
  rgba = Image.fromarray(np.dstack([PIXELS, opacity]))
  expected = over(PIXELS, opacity, background)
  found = decode(encode(rgba), background=background)
  assert np.abs(found - expected).max() <= 1
  hard = (opacity == 0) | (opacity == 255)
  np.testing.assert_array_equal(found[hard], expected[hard])
  dropped = decode(encode(rgba), background=())
  np.testing.assert_array_equal(dropped, PIXELS)

  grey = Image.fromarray(np.dstack([PIXELS[..., 0], opacity]))
  assert grey.mode == "LA"
  expected = over(PIXELS[..., :1], opacity, background)
  found = decode(encode(grey), background=background)
  assert np.abs(found - expected).max() <= 1


def palette():
  image = Image.new("P", (6, 4))
  image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
  image.putdata(list(range(3)) * 8)
  return image


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
@pytest.mark.parametrize("file_format", ["png", "gif"])
def test_transparent_palette_entries(transparency, file_format):
  if file_format == "gif" and isinstance(transparency, bytes):
    pytest.skip("GIF has one transparent entry")
  content = encode(palette(), file_format, transparency=transparency)
  found = decode(content)
  index = np.arange(24).reshape(4, 6) % 3
  colours = np.array([[10, 20, 30], [255, 255, 255], [70, 80, 90]])
  np.testing.assert_array_equal(found, colours[index])
  if file_format == "png":
    colours[1] = 40, 50, 60
    found = decode(content, background=())
    np.testing.assert_array_equal(found, colours[index])


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level(bits):
  top = 2**bits - 1
  values = RNG.randint(0, top + 1, (4, 8))
  values[0, 0], values[0, 1] = top, 0
  content = png(values, 0, struct.pack(">H", top), bits)
  expected = np.round(values * 255 / top)
  np.testing.assert_array_equal(decode(content)[..., 0], expected)
  black = decode(content, background=(0, 0, 0))[..., 0]
  np.testing.assert_array_equal(black, np.where(values == top, 0, expected))
  red = decode(content, background=(255, 0, 0))
  np.testing.assert_array_equal(red[0, 0], [255, 0, 0])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour(bits):
  values = RNG.randint(0, 2**bits, (4, 6, 3))
  content = png(values, 2, struct.pack(">HHH", *values[1, 2]), bits)
  if bits == 8:
    content = encode(
      Image.fromarray(values.astype(np.uint8)),
      transparency=tuple(values[1, 2].tolist()),
    )
  expected = np.round(values * 255 / (2**bits - 1))
  expected[1, 2] = 0, 0, 255
  found = decode(content, background=(0, 0, 255))
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_are_divided_by_257_and_rounded(channels):
  values = RNG.randint(0, 65536, (16, 17, channels))
  color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
  content = png(values.squeeze(-1) if channels == 1 else values, color_type)
  expected = np.round(values / 257).astype(int)
  colours = expected[..., :3] if channels > 2 else expected[..., :1]
  colours = np.broadcast_to(colours, (16, 17, 3))
  np.testing.assert_array_equal(decode(content, background=()), colours)
  if channels in (2, 4):
    white = decode(content)
    ideal = over(colours, expected[..., -1], (255, 255, 255))
    assert np.abs(white - ideal).max() <= 1


def test_16_bits_in_other_formats():
  values = RNG.randint(0, 65536, (5, 6), np.uint16)
  expected = np.round(values / 257)[..., None].repeat(3, -1)
  image = Image.fromarray(values)
  for file_format in ("tiff", "ppm", "jpeg2000"):
    if file_format == "jpeg2000" and not features.check("jpg_2000"):
      continue
    content = encode(image, file_format)
    np.testing.assert_array_equal(decode(content), expected)
  big_endian = b"P5\n6 5\n65535\n" + values.astype(">u2").tobytes()
  np.testing.assert_array_equal(decode(big_endian), expected)
  white_is_zero = encode(image, "tiff", tiffinfo={262: 0})
  inverted = np.round((65535 - values.astype(int)) / 257)[..., None]
  np.testing.assert_array_equal(decode(white_is_zero), inverted.repeat(3, -1))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_range_are_rejected(dtype):
  content = encode(Image.fromarray(np.ones((4, 4), dtype)), "tiff")
  with pytest.raises(ValueError, match="expected 8 or 16 bits a channel"):
    decode(content)


ycbcr = pytest.param(
  "YCbCr",
  marks=pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13,
    reason="before version 13, Pillow cannot read such files",
  ),
)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", ycbcr])
def test_other_modes_are_converted_by_pillow(mode):
  image = Image.fromarray(PIXELS).convert(mode)
  content = encode(image, "tiff")
  with Image.open(io.BytesIO(content)) as file:
    assert file.mode == mode
    expected = np.asarray(file.convert("RGB"))
  np.testing.assert_array_equal(decode(content), expected)


@pytest.mark.parametrize("file_format", ["gif", "png", "webp", "tiff"])
def test_of_animations_the_first_frame_is_read(file_format):
  colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
  frames = [Image.new("RGB", (6, 4), colour) for colour in colours]
  content = encode(
    frames[0],
    file_format,
    save_all=True,
    append_images=frames[1:],
    **({"lossless": True} if file_format == "webp" else {}),
  )
  with Image.open(io.BytesIO(content)) as file:
    assert file.n_frames == 3
  found = decode(content)
  np.testing.assert_array_equal(found, np.broadcast_to(colours[0], (4, 6, 3)))


def test_nothing_is_passed_on_to_other_programs():
  """Pillow runs Ghostscript on PostScript, whatever the file's ending."""
  assert not {".eps", ".ps", ".pdf", ".h5", ".mpg"} & set(ENDINGS)
  script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"
  with pytest.raises(Exception, match="cannot identify image file"):
    decode(script)


def test_usual_endings_are_those_of_images():
  usual = {
    ".jpg", ".jpeg", ".jfif", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff",
    ".gif", ".ppm", ".pgm", ".avif", ".jp2", ".tga", ".ico", ".mpo",
  }  # fmt: skip
  assert usual <= set(ENDINGS)


@pytest.mark.parametrize("orientation", ["up", "", None, 1])
def test_unknown_orientations_are_rejected(orientation):
  with pytest.raises(UsageError, match="orientation is .*; expected 'exif' or"):
    Decoding(orientation)


@pytest.mark.parametrize(
  "background",
  ["white", 255, (255,), (0, 0, 256), (0, 0, -1), (0.0, 0, 0), None, "abc"],
)
def test_other_backgrounds_are_rejected(background):
  with pytest.raises(
    UsageError, match="background is .* three integers from 0"
  ):
    Decoding(background=background)


def test_fingerprints_tell_settings_apart():
  settings = [
    ORIGINAL,
    Decoding(),
    Decoding("ignore"),
    Decoding("exif", ()),
    Decoding(background=(0, 0, 0)),
  ]
  assert len({x.suffix for x in settings}) == len(settings)
  assert ORIGINAL.suffix == ""
  assert Decoding(background=[0, 0, 0]) == settings[-1]
