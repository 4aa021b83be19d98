"""Bounds the memory that compressed data may need, against zip bombs."""

FREE = 64 * 2**20  # bytes that any file may have
RATIO = 100  # larger contents may be so many times the compressed size


def check_expansion(compressed: int, expanded: int) -> None:
  """Checks the size of compressed data before they are decompressed.

  Args:
    compressed: size as stored, in bytes.
    expanded: size after decompression, in bytes.

  Raises:
    ValueError: the data would need more than 64 MiB and more than 100 times
      their compressed size.
  """
  if expanded > max(FREE, RATIO * compressed):
    raise ValueError(
      f"{compressed:,} bytes would be decompressed to {expanded:,}; expected "
      f"at most {RATIO} times the size, or {FREE:,}"
    )
