"""ADM's centre crop, to the byte."""

import numpy as np
from cases import cases

from get_jax.data.pixels import center_crop


@cases("dit/center_crop*.npz")
def test_center_crop(case):
  given, expected = case.under("in"), case.under("out")
  assert len(given) == len(expected)
  for name, image in given.items():
    got = center_crop(image, case.meta["target"])
    np.testing.assert_array_equal(got, expected[name.replace("img", "crop")])
