"""A GET distilled from a guided teacher in latents, decoded to pixels."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import get_base_imagenet256
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.distillation.pairs import PairsSource
from get_jax.generation.image_sampler import ImageSampler
from get_jax.models.parameters import abstract_params
from get_jax.modes import pairs, sample, train
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.rng import named_key
from get_jax.training.sharding import make_mesh


@pytest.fixture(scope="module")
def job(tiny_autoencoder, tmp_path_factory):
  """The experiment as :smoke with a random teacher; both have a decoder."""
  config = get_base_imagenet256.get_config("smoke")
  weights = str(tiny_autoencoder(latent_channels=4)[0])
  config.autoencoder.weights = config.teacher.autoencoder.weights = weights
  workdir = tmp_path_factory.mktemp("latent_get")
  config.pairs.teacher_workdir = str(tmp_path_factory.mktemp("teacher"))
  rng = np.random.RandomState(0)
  params = jax.tree.map(
    lambda x: 0.1 * rng.standard_normal(x.shape).astype(np.float32),
    abstract_params(build_model(config.teacher)),
  )
  folder = pathlib.Path(config.pairs.teacher_workdir, "checkpoints")
  with Checkpoints(folder) as checkpoints:
    checkpoints.save_params(jax.tree.map(jnp.asarray, params))
  jax.config.update("jax_disable_most_optimizations", True)
  train.run(config, workdir)
  sample.run(config, workdir)
  jax.config.update("jax_disable_most_optimizations", False)
  return config, workdir, params


def test_pairs_hold_the_teachers_latents(job):
  config, workdir, params = job
  source = PairsSource(workdir / "pairs")
  assert source.info.image_shape == (8, 8, 4)
  assert source.info.dtype == "float16"
  assert source.info.sampler["guidance"]["scale"] == 1.5
  assert source.info.sampler["sampler"]["name"] == "ddim"
  assert "decoder" not in source.info.sampler
  assert np.load(workdir / "pairs" / "00000.image.npy").dtype == np.float16

  generator = build_generator(config.teacher).with_decoder(None)
  key = named_key(config.pairs.seed, "pairs")
  maker = ImageSampler(generator, key, 8, make_mesh((-1, 1, 1)))
  latents, labels = maker.sample(params, np.arange(8))
  records = source.read(np.arange(8))
  np.testing.assert_array_equal(records["label"], labels)
  # float16 keeps 11 bits.
  np.testing.assert_allclose(records["image"], latents, rtol=1e-3, atol=1e-3)


def test_the_student_ends_in_pixels(job):
  config, workdir, _ = job
  with np.load(workdir / "samples" / "samples.npz") as file:
    assert file["arr_0"].shape == (8, 16, 16, 3)
    assert file["arr_0"].dtype == np.uint8
    assert file["arr_1"].max() < config.model.num_classes
  protocol = json.loads((workdir / "results" / "sample.json").read_text())
  assert protocol["evaluations"] == 1
  assert "digest" in protocol["decoder"]


def test_students_that_cannot_learn_are_refused():
  config = get_base_imagenet256.get_config()
  config.pairs.dtype = "uint8"
  with pytest.raises(ValueError, match="'uint8', which holds images, and the"):
    train.check_experiment(config)
  config.pairs.dtype = "float16"
  config.model.num_classes = 10
  with pytest.raises(ValueError, match="num_classes is 10; its teacher's is 1"):
    pairs.check_teacher(config)
  config.model.image_size = 128
  with pytest.raises(ValueError, match=r"student's shape is \(16, 16, 4\)"):
    pairs.check_teacher(config)
