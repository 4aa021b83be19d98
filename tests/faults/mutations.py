"""Seeded damage to the content of files.

Most damage to a container is found by its checksums. Therefore a part inside a
zip, a tar or a PNG is damaged as well, and its checksum is made to fit.
"""

import io
import random
import re
import struct
import tarfile
import warnings
import zipfile
import zlib

# Values of length fields: small, and at the limits of their types.
_LENGTHS = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**60, 2**63 - 1)
_NUMBERS = ("-1", "0", "1.5", "1e999", "NaN", "9" * 30, str(2**60), "9" * 5000)
_TOKENS = (
  b"null", b"[]", b"{}", b'""', b"true", b"\0", b"\n", b"../../x", b"\xff\xfe",
  "\u2028".encode(), b"%s%n", b"\\u0000", b"object", b"|O8", b"c os\nsystem\n(",
)  # fmt: skip
_COMPRESSIONS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DEPTH = 20_000  # of nested structures, more than Python's stack


def mutate(content: bytes, rng: random.Random) -> bytes:
  """Returns damaged content: one to three changes, seldom of a part inside."""
  inside = [
    f for f in (_zip_member, _tar_member, _png_chunk) if f.fits(content)
  ]
  if inside and rng.random() < 0.6:
    return inside[0](content, rng)
  for _ in range(rng.choice((1, 1, 2, 3))):
    content = rng.choice(_CHANGES)(content, rng)
  return content


def _position(content: bytes, rng: random.Random) -> int:
  """Returns a position; headers and ends, which matter most, more often."""
  size = len(content)
  kind = rng.random()
  if kind < 0.3:
    return rng.randrange(min(size, 64) + 1)
  if kind < 0.4:
    return size - rng.randrange(min(size, 64) + 1)
  return rng.randrange(size + 1)


def _splice(content: bytes, start: int, stop: int, new: bytes) -> bytes:
  return content[:start] + new + content[stop:]


def _flip_bit(content: bytes, rng: random.Random) -> bytes:
  if not content:
    return b"\0"
  at = min(_position(content, rng), len(content) - 1)
  return _splice(
    content, at, at + 1, bytes([content[at] ^ 1 << rng.randrange(8)])
  )


def _set_bytes(content: bytes, rng: random.Random) -> bytes:
  at, count = _position(content, rng), rng.choice((1, 2, 4, 16))
  return _splice(content, at, at + count, rng.randbytes(count))


def _insert(content: bytes, rng: random.Random) -> bytes:
  at = _position(content, rng)
  return _splice(content, at, at, rng.randbytes(rng.choice((1, 3, 100))))


def _insert_token(content: bytes, rng: random.Random) -> bytes:
  at, token = _position(content, rng), rng.choice(_TOKENS)
  return _splice(content, at, at + rng.choice((0, len(token))), token)


def _delete(content: bytes, rng: random.Random) -> bytes:
  at = _position(content, rng)
  return _splice(content, at, at + rng.choice((1, 2, 8, 100)), b"")


def _truncate(content: bytes, rng: random.Random) -> bytes:
  return content[: _position(content, rng)]


def _duplicate(content: bytes, rng: random.Random) -> bytes:
  start = _position(content, rng)
  block = content[start : start + rng.choice((1, 16, 512, 10**6))]
  at = rng.choice((start, _position(content, rng)))
  return _splice(content, at, at, block)


def _swap(content: bytes, rng: random.Random) -> bytes:
  """Swaps two neighbouring blocks."""
  a, b, c = sorted(_position(content, rng) for _ in range(3))
  return content[:a] + content[b:c] + content[a:b] + content[c:]


def _length(content: bytes, rng: random.Random) -> bytes:
  """Replaces a binary field by an extreme length."""
  form = rng.choice("BHIQ")
  value = rng.choice(_LENGTHS) % (1 << 8 * struct.calcsize(f"<{form}"))
  field = struct.pack(rng.choice("<>") + form, value)
  at = _position(content, rng)
  return _splice(content, at, at + len(field), field)


def _number(content: bytes, rng: random.Random) -> bytes:
  """Replaces a number in text by another."""
  found = list(re.finditer(rb"-?\d+(\.\d+)?", content))
  if not found:
    return _length(content, rng)
  number = rng.choice(found)
  new = rng.choice(_NUMBERS).encode()
  return _splice(content, number.start(), number.end(), new)


def _nest(content: bytes, rng: random.Random) -> bytes:
  """Inserts, or puts in place of a value, a deeply nested structure."""
  depth = rng.choice((10, 200, _DEPTH))
  left, right = rng.choice(
    ((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"-", b""))
  )
  nested = left * depth + b"1" + right * rng.choice((0, depth))
  values = list(re.finditer(rb'"[^"]*"|\d+', content))
  if values and rng.random() < 0.7:
    value = rng.choice(values)
    return _splice(content, value.start(), value.end(), nested)
  at = _position(content, rng)
  return _splice(content, at, at, nested)


_CHANGES = (
  _flip_bit,
  _flip_bit,
  _set_bytes,
  _insert,
  _insert_token,
  _delete,
  _truncate,
  _duplicate,
  _swap,
  _length,
  _length,
  _number,
  _nest,
)


def _zip_member(content: bytes, rng: random.Random) -> bytes:
  """Damages a member of a zip, or its name; its checksum is right."""
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    members = [(info, archive.read(info)) for info in archive.infolist()]
  if not members:
    return _flip_bit(content, rng)
  chosen = rng.randrange(len(members))
  result = io.BytesIO()
  with warnings.catch_warnings(), zipfile.ZipFile(result, "w") as archive:
    warnings.simplefilter("ignore")  # of duplicate names
    for index, (info, data) in enumerate(members):
      kind, name = info.compress_type, info.filename
      if index == chosen:
        if rng.random() < 0.1:
          name = rng.choice(
            ("../x.png", "/etc/x.png", name * 2, "", members[0][0].filename)
          )
        data = mutate(data, rng)
        kind = rng.choice((kind, kind, *_COMPRESSIONS))
      archive.writestr(zipfile.ZipInfo(name), data, kind)
  return result.getvalue()


_zip_member.fits = lambda content: zipfile.is_zipfile(io.BytesIO(content))


def _tar_member(content: bytes, rng: random.Random) -> bytes:
  """Damages a member, or the header of one, of a tar file."""
  with tarfile.open(fileobj=io.BytesIO(content)) as archive:
    members = list(archive)
  member = rng.choice(members)
  if rng.random() < 0.5:
    start = member.offset_data
    data = mutate(content[start : start + member.size], rng)
    header = bytearray(content[member.offset : start])
    header[124:136] = b"%011o\0" % len(data)
    stop = start + -(-member.size // 512) * 512
    new = bytes(header) + data + bytes(-len(data) % 512)
  else:
    start = member.offset
    stop, new = start + 512, content[start : start + 512]
    field = rng.choice(
      ((0, 8), (124, 12), (136, 12), (156, 1), (257, 6), (345, 20))
    )
    value = rng.choice(
      (
        rng.randbytes(field[1]),
        b"7" * field[1],
        b"\x80" + b"\xff" * 11,
        b"x",
        b"L",
        b"S",
        b"K",
        b"g",
      )
    )
    new = _splice(new, field[0], field[0] + len(value), value)[:512]
    start = member.offset
    return _splice(content, start, stop, _with_tar_checksum(new))
  return _splice(content, member.offset, stop, _with_tar_checksum(new))


def _with_tar_checksum(block: bytes) -> bytes:
  header = block[:148] + b" " * 8 + block[156:512]
  return block[:148] + b"%06o\0 " % sum(header) + block[156:]


_tar_member.fits = lambda content: content[257:262] == b"ustar"


def _png_chunk(content: bytes, rng: random.Random) -> bytes:
  """Damages a chunk of a PNG, and computes its checksum anew."""
  chunks, at = [], 8
  while at + 12 <= len(content):
    (size,) = struct.unpack_from(">I", content, at)
    chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
    at += 12 + size
  chosen = rng.randrange(len(chunks))
  result = content[:8]
  for index, (name, data) in enumerate(chunks):
    if index == chosen:
      data = _length(data, rng) if rng.random() < 0.5 else mutate(data, rng)
    code = zlib.crc32(name + data)
    result += (
      struct.pack(">I", len(data)) + name + data + struct.pack(">I", code)
    )
  return result


_png_chunk.fits = lambda content: content[:8] == b"\x89PNG\r\n\x1a\n"
