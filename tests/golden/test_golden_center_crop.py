"""ADM's centre crop, to the byte."""

import numpy as np

from get_jax.data.pixels import center_crop


def test_center_crop(golden):
  arrays = golden("dit/center_crop").arrays
  for case in range(5):
    found = center_crop(arrays[f"in/img{case}"], 16)
    np.testing.assert_array_equal(found, arrays[f"out/crop{case}"])
