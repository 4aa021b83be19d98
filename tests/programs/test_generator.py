"""Sample i depends on the seed and i alone."""

import jax
import numpy as np
import pytest

from get_jax.programs.build import build_init, build_model
from get_jax.programs.generator import ImageMaker, build_generator
from get_jax.training.randomness import purpose_key
from get_jax.training.sharding import make_mesh
from tests.helpers import tiny_config

COUNT = 16


def denoiser():
  # From sigma = 80 random weights would carry float32 rounding far above 1.
  return tiny_config(sampler__num_steps=6)


def student():
  from configs import get_digits

  config = get_digits.get_config()
  config.model.update(hidden_size=32, num_heads=2)
  config.sampling.iterations = 3
  return config


@pytest.fixture(scope="module", params=[denoiser, student])
def setting(request):
  """A generator with random weights everywhere."""
  config = request.param()
  shapes = jax.eval_shape(build_init(build_model(config)), jax.random.key(0))
  leaves, tree = jax.tree.flatten(shapes)
  rng = np.random.RandomState(0)
  params = [
    rng.normal(0, 0.1, leaf.shape).astype(np.float32) for leaf in leaves
  ]
  return build_generator(config), jax.tree.unflatten(tree, params)


def draw(setting, batch_size, devices, indices=range(COUNT), labels=None):
  generator, params = setting
  mesh = make_mesh((-1, 1, 1), jax.devices()[:devices])
  key = purpose_key(5, "sample")
  maker = ImageMaker(generator, key, batch_size, mesh)
  return maker.all(params, np.asarray(indices), labels)


@pytest.fixture(scope="module")
def expected(setting):
  images, labels = draw(setting, 16, 1)
  assert images.shape == (COUNT, 8, 8, 1)
  assert len({image.tobytes() for image in images}) == COUNT
  assert len(set(labels.tolist())) > 3
  return images, labels


@pytest.mark.parametrize("batch_size, devices", [(4, 1), (64, 1), (16, 8)])
def test_neither_batch_size_nor_devices_matter(
  setting, expected, batch_size, devices
):
  images, labels = draw(setting, batch_size, devices)
  np.testing.assert_array_equal(labels, expected[1])
  np.testing.assert_allclose(images, expected[0], rtol=1e-5, atol=1e-5)


def test_samples_are_addressed_by_index_and_label(setting, expected):
  images, labels = draw(setting, 4, 1, [11, 3], expected[1][[11, 3]])
  np.testing.assert_array_equal(labels, expected[1][[11, 3]])
  np.testing.assert_allclose(images, expected[0][[11, 3]], rtol=1e-5, atol=1e-5)
  other, _ = draw(setting, 4, 1, [11, 3], (labels + 1) % 10)
  assert np.abs(other - images).max() > 1e-3


def test_labels_out_of_range_are_refused(setting):
  with pytest.raises(ValueError, match="label 11 is out of range"):
    draw(setting, 4, 1, [0], np.array([11]))
