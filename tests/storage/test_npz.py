"""Arrays that are written in parts."""

import io

import numpy as np
import pytest

from get_jax.storage.npz import StreamedArray, write_npz

IMAGES = np.arange(240, dtype=np.uint8).reshape(10, 4, 2, 3)
CAPTIONS = np.array(["ä", "a dog", "", *"abcdefg"])


class Pipe(io.BytesIO):
  """A file that cannot seek, such as an upload."""

  def seekable(self):
    return False

  def seek(self, *arguments):
    raise OSError("seek")


def in_parts(array, *sizes):
  parts = np.split(array, np.cumsum(sizes))
  return StreamedArray(array.shape, array.dtype, iter(parts))


@pytest.mark.parametrize("sizes", [(), (1, 6), (4, 0, 4)])
def test_the_bytes_are_those_of_savez(sizes):
  found, expected = io.BytesIO(), io.BytesIO()
  arrays = {"arr_0": in_parts(IMAGES, *sizes), "arr_1": CAPTIONS}
  write_npz(found, arrays)
  np.savez(expected, IMAGES, CAPTIONS)
  assert found.getvalue() == expected.getvalue()


def test_a_file_that_cannot_seek():
  # Parts that are not contiguous in memory.
  floats = np.linspace(0, 1, 60).reshape(2, 30).T
  pipe = Pipe()
  write_npz(pipe, {"arr_0": in_parts(floats, 7), "arr_1": CAPTIONS})
  with np.load(io.BytesIO(pipe.getvalue())) as file:
    np.testing.assert_array_equal(file["arr_0"], floats)
    np.testing.assert_array_equal(file["arr_1"], CAPTIONS)


@pytest.mark.parametrize(
  "parts, message",
  [
    ([IMAGES[:9]], "x has 9 rows, expected 10"),
    ([IMAGES.astype(np.int8)], r"a part of x is int8\(10, 4, 2, 3\)"),
    ([IMAGES[:, :3]], r"expected uint8\('n', 4, 2, 3\)"),
  ],
)
def test_other_parts_than_announced(parts, message):
  array = StreamedArray(IMAGES.shape, IMAGES.dtype, parts)
  with pytest.raises(ValueError, match=message):
    write_npz(io.BytesIO(), {"x": array})
