"""Resampling of position tables, against Pillow and SciPy."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from get_jax.nn.resampling import resample_grid

GRIDS = (
  ((4, 6), (9, 5)),
  ((8, 8), (16, 16)),
  ((16, 16), (7, 7)),
  ((2, 2), (4, 4)),
  ((3, 1), (3, 4)),
)


def table(grid, width=5):
  rng = np.random.default_rng(0)
  return rng.standard_normal((*grid, width)).astype(np.float32)


@pytest.mark.parametrize("grid, new_grid", GRIDS)
def test_bicubic_is_that_of_pillow(grid, new_grid):
  given = table(grid)
  expected = [
    Image.fromarray(channel).resize(new_grid[::-1], Image.Resampling.BICUBIC)
    for channel in np.moveaxis(given, -1, 0)
  ]
  found = resample_grid(given, new_grid)
  assert found.dtype == np.float32
  np.testing.assert_allclose(
    found, np.stack(expected, axis=-1), rtol=0, atol=1e-6
  )


@pytest.mark.parametrize("grid, new_grid", GRIDS[:4])
def test_bilinear_corners_is_that_of_vision_transformer(grid, new_grid):
  given = table(grid)
  zoom = *(n / m for n, m in zip(new_grid, grid, strict=True)), 1
  expected = ndimage.zoom(given, zoom, order=1)
  found = resample_grid(given, new_grid, "bilinear_corners")
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
  for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
    np.testing.assert_array_equal(found[corner], given[corner])


@pytest.mark.parametrize("method", ("bicubic", "bilinear_corners"))
def test_the_same_grid_is_the_same_array(method):
  given = table((3, 5))
  assert resample_grid(given, (3, 5), method) is given


def test_constants_stay_constant():
  ones = np.ones((4, 4, 1), np.float32)
  for method in ("bicubic", "bilinear_corners"):
    np.testing.assert_allclose(
      resample_grid(ones, (7, 3), method), 1, rtol=1e-6
    )


def test_an_unknown_method_is_refused():
  with pytest.raises(ValueError, match="method is 'lanczos'; expected one of"):
    resample_grid(table((2, 2)), (3, 3), "lanczos")
