"""Text embeddings are transferred in the dtype of the matrix products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import uvit_s2_coco
from get_jax.aot.lower import lower_step
from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.data import build_source
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.builders.objective import build_objective
from get_jax.builders.training_step import batch_shapes
from get_jax.data import Pipeline
from get_jax.data.texts import SyntheticTexts
from get_jax.diffusion.noise import SampleNoise
from get_jax.generation.conditioning import Captions
from get_jax.models.parameters import init_params
from tests.fast_compile import fast_compile_jit


@pytest.fixture(scope="module")
def config():
  config = uvit_s2_coco.get_config("smoke")
  config.model.update(
    dtype="bfloat16",
    hidden_size=16,
    depth=2,
    num_heads=2,
    context_tokens=5,
    context_features=8,
  )
  config.data.text = (5, 8)
  config.label_dropout = 0.5
  config.guidance.scale = 1.0  # of U-ViT's convention: two evaluations
  config.sampler.num_steps = 3
  return config


@pytest.fixture(scope="module")
def params(config):
  params = init_params(build_model(config), jax.random.key(0))

  # A network that ignores nothing.
  def change(p):
    return p + np.float32(0.02 * np.cos(np.arange(p.size))).reshape(p.shape)

  return jax.tree.map(change, jax.device_get(params))


class Given(SyntheticTexts):
  """Texts with the given embeddings, (count, L, D)."""

  def __init__(self, embeddings):
    super().__init__(len(embeddings), embeddings.shape[1:])
    self.embeddings = embeddings

  def read(self, ids):
    return self.embeddings[ids]


def test_values_are_those_of_a_cast_on_the_device():
  bits = np.random.RandomState(0).randint(0, 2**32, 2**16, np.uint32)
  ties = np.arange(2**16, dtype=np.uint32) << 16 | 0x8000  # between two values
  floats = np.concatenate([bits, ties]).view(np.float32)
  floats = np.where(np.isfinite(floats), floats, 1).reshape(4, -1, 8)
  conditioning = Captions(Given(floats), jnp.bfloat16)
  found = conditioning.model_inputs(np.arange(4))
  expected = jax.device_put(floats).astype(jnp.bfloat16)
  assert found.dtype == jnp.bfloat16 and found.nbytes == floats.nbytes // 2
  np.testing.assert_array_equal(
    found.view(np.uint16), np.asarray(expected).view(np.uint16)
  )


def test_loss_and_gradient_are_those_of_float32(config, params):
  source, size = build_source(config), config.batch_size
  model = build_model(config)
  dtypes = {"label": batch_shapes(config, model)["label"].dtype}
  batch = Pipeline(source, size, 0, dtypes=dtypes).batch(0)
  exact = Pipeline(source, size, 0).batch(0)
  assert batch["label"].dtype == jnp.bfloat16
  assert exact["label"].dtype == np.float32
  np.testing.assert_array_equal(batch["image"], exact["image"])
  conditioning = build_conditioning(config, model, source)
  objective = build_objective(config, model, conditioning=conditioning)
  step = fast_compile_jit(jax.value_and_grad(lambda *args: objective(*args)[0]))
  (loss, grads), (expected, expected_grads) = (
    step(params, b, jax.random.key(1)) for b in (batch, exact)
  )
  assert loss == expected
  embed = grads["context_embed"]["kernel"]
  assert embed.dtype == jnp.float32 and np.abs(embed).max() > 0
  jax.tree.map(np.testing.assert_array_equal, grads, expected_grads)


def test_samples_are_those_of_float32(config, params):
  generator = build_generator(config)
  y = generator.conditioning.model_inputs(np.array([1, 2]))
  assert y.dtype == jnp.bfloat16
  exact = generator.conditioning.texts.read(np.array([1, 2]))
  noise = SampleNoise.create(jax.random.key(0), np.arange(2))
  generate = fast_compile_jit(generator.generate)
  found, expected, other = (
    generate(params, noise, y) for y in (y, exact, exact[::-1])
  )
  np.testing.assert_array_equal(found, expected)
  assert np.abs(found - other).max() > 0


def test_the_dtype_is_that_of_the_network(config):
  wide = config.copy_and_resolve_references()
  wide.model.dtype = "float32"
  sizes = {}
  for name, experiment in (("bfloat16", config), ("float32", wide)):
    conditioning = build_conditioning(experiment, build_model(experiment))
    assert conditioning.model_inputs(np.array([1])).dtype == name
    sizes[name] = lower_step(experiment, "train", jax.devices()[:1]).arguments
  label = batch_shapes(wide, build_model(wide))["label"]
  label_bytes = label.size * label.dtype.itemsize
  assert sizes["float32"] - sizes["bfloat16"] == label_bytes // 2
