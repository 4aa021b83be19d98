"""Sample i depends only on the seed and i."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import dit_s8
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_init, build_model
from get_jax.diffusion.noise import SampleNoise
from get_jax.generation.conditioning import ClassLabels
from get_jax.generation.image_sampler import ImageSampler
from get_jax.models.parameters import abstract_params
from get_jax.modes.train import check_experiment
from get_jax.training.rng import named_key
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


def sample(setting, batch_size, devices, indices=range(COUNT), labels=None):
  generator, params = setting
  mesh = make_mesh((-1, 1, 1), jax.devices()[:devices])
  key = named_key(5, "sample")
  image_sampler = ImageSampler(generator, key, batch_size, mesh)
  return image_sampler.sample(params, np.asarray(indices), labels)


@pytest.fixture(scope="module")
def expected(setting):
  images, labels = sample(setting, 16, 1)
  assert images.shape == (COUNT, 8, 8, 1)
  assert len({image.tobytes() for image in images}) == COUNT
  assert len(set(labels.tolist())) > 3
  return images, labels


@pytest.mark.parametrize("batch_size, devices", [(4, 1), (64, 1), (16, 8)])
def test_neither_batch_size_nor_devices_matter(
  setting, expected, batch_size, devices
):
  images, labels = sample(setting, batch_size, devices)
  np.testing.assert_array_equal(labels, expected[1])
  np.testing.assert_allclose(images, expected[0], rtol=1e-5, atol=1e-5)


def test_samples_are_addressed_by_index_and_label(setting, expected):
  images, labels = sample(setting, 4, 1, [11, 3], expected[1][[11, 3]])
  np.testing.assert_array_equal(labels, expected[1][[11, 3]])
  np.testing.assert_allclose(images, expected[0][[11, 3]], rtol=1e-5, atol=1e-5)
  other, _ = sample(setting, 4, 1, [11, 3], (labels + 1) % 10)
  assert np.abs(other - images).max() > 1e-3


def test_a_guided_dit_of_250_steps_is_one_program():
  """DiT-S/8 with a single narrow block, two batches of 4 latents."""
  config = dit_s8.get_config()
  config.model.update(depth=1, hidden_size=32, num_heads=2)
  config.guidance.update(scale=4.0, channels=3)
  generator, traces = build_generator(config), []

  def counting(params, noise, y):
    traces.append(y.shape)
    return generator.generate(params, noise, y)

  model = build_model(config)
  rng = np.random.RandomState(0)
  params = jax.tree.map(
    lambda a: rng.normal(0, 0.02, a.shape).astype(np.float32),
    abstract_params(model),
  )
  mesh = make_mesh((-1, 1, 1), jax.devices()[:1])
  key = named_key(0, "sample")
  counted = dataclasses.replace(generator, generate=counting)
  image_sampler = ImageSampler(counted, key, 4, mesh)
  images, labels = image_sampler.sample(params, np.arange(8))
  assert generator.nfe == 250 and labels is not None
  assert images.shape == (8, 32, 32, 4) and np.isfinite(images).all()
  assert len({image.tobytes() for image in images}) == 8
  assert traces == [(4,)]
  assert image_sampler._sample_fn._cache_size() == 1  # type: ignore[attr-defined]

  noise = SampleNoise.create(key, np.arange(4))
  program = jax.make_jaxpr(generator.generate)(params, noise, labels[:4])
  (loop,) = (e for e in program.eqns if e.primitive.name == "scan")
  assert loop.params["length"] == 250


def test_guidance_without_a_null_class_is_refused_before_training():
  config = tiny_config(guidance__scale=2.0, model__null_class=False)
  config.label_dropout = 0.0
  with pytest.raises(ValueError, match="scale 2.0 needs a null class"):
    check_experiment(config)
  config.model.num_classes = 0
  with pytest.raises(ValueError, match="scale 2.0 needs labels or text"):
    check_experiment(config)


def test_the_null_class_is_out_of_range_without_a_null_class():
  with pytest.raises(ValueError, match="label 10 is out of range"):
    ClassLabels(10, None).model_inputs(np.array([3, 10]))
  assert ClassLabels(10, 10).model_inputs(np.array([3, 10])).tolist() == [3, 10]


def test_labels_out_of_range_are_refused(setting):
  with pytest.raises(ValueError, match="label 11 is out of range"):
    sample(setting, 4, 1, [0], np.array([11]))
