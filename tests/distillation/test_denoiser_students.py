"""Denoisers as students of pairs: one call with a constant time."""

import jax
import numpy as np
import pytest
from fast_compile import fast_compile_jit

from configs import knowledge_distillation_digits
from get_jax.builders.config_check import check_config
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model, build_student
from get_jax.builders.objective import build_objective
from get_jax.diffusion.noise import INITIAL, SampleNoise
from get_jax.errors import UsageError
from get_jax.models.parameters import init_params

TINY = {"name": "DiT", "hidden_size": 32, "depth": 1, "num_heads": 2}


def config_of(**model):
  config = knowledge_distillation_digits.get_config()
  with config.unlocked():
    config.model.update(TINY | model)
    config.distillation.time = 250.0
  return config


def test_the_student_is_the_network_at_one_time():
  """Also in the loss; a learned variance is not part of the image."""
  config = config_of(learn_sigma=True)
  check_config(config)
  model = build_model(config)
  params = init_params(model, jax.random.key(0))
  # DiT starts with outputs of zero.
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  params = tree.unflatten(
    x + 0.1 * jax.random.normal(k, x.shape)
    for x, k in zip(leaves, keys, strict=True)
  )
  noise = SampleNoise.create(jax.random.key(2), np.arange(3))
  y = np.array([1, 0, 7], np.int32)
  student, generator = build_student(config, model), build_generator(config)
  objective = build_objective(config, model)

  @fast_compile_jit
  def run(params):
    x = noise(INITIAL, (8, 8, 1))
    outputs = [
      model.apply({"params": params}, x, np.full(3, t, np.float32), y)
      for t in (250.0, 0.0)
    ]
    image = student(params, noise, y, 1)
    samples = {"noise": x, "image": image + 0.5, "label": y, "index": y}
    samples = objective.prepare(samples, jax.random.key(0))
    loss = objective.loss(params, samples, jax.random.key(0), {})[0]
    return outputs, image, generator.generate(params, noise, y), loss

  (at_time, at_zero), image, sample, loss = run(params)
  assert at_time.shape == (3, 8, 8, 2)
  np.testing.assert_array_equal(image, at_time[..., :1])
  np.testing.assert_array_equal(sample, image)
  assert np.abs(at_zero[..., :1] - image).max() > 1e-3
  assert abs(loss - 0.5) < 1e-5
  assert generator.nfe == 1 and generator.settings["time"] == 250.0


@pytest.mark.parametrize(
  "model, sentence",
  [
    (
      TINY | {"scalars": ("h",)},
      r"model.scalars is \('h',\) for DiT; expected none",
    ),
    (
      {"name": "U-ViT-S/2-COCO", "depth": 3},
      "takes texts; task='distillation' needs a network with labels",
    ),
  ],
)
def test_networks_with_other_inputs_are_refused(model, sentence):
  config = config_of()
  config.model = model
  with pytest.raises(UsageError, match=sentence):
    build_student(config, build_model(config))
