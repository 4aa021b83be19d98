"""Grids of images."""

import numpy as np
import pytest
from PIL import Image

from get_jax.generation.grids import save_grid


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grid_of_images_or_latents(tmp_path, channels):
  images = np.zeros((5, 8, 8, channels), np.float32)
  images[0, ..., 0] = 1
  save_grid(tmp_path / "new" / "grid.png", images)
  with Image.open(tmp_path / "new" / "grid.png") as grid:
    pixels = np.asarray(grid)
  assert pixels.shape[-1] == 3
  first = [255, 255, 255] if channels == 1 else [255, 128, 128]
  assert pixels[4, 4].tolist() == first
