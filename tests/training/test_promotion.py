"""Every family trains and samples under JAX's strict modes.

Shapes and dtypes suffice: an accidental promotion is an error while tracing.
"""

import importlib

import jax
import jax.numpy as jnp
import pytest

from get_jax.builders.conditioning import abstract_conditioning
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.generation.generator import make_sample_fn
from get_jax.training.sharding import make_mesh
from tests.strict_modes import strict_modes

EXPERIMENTS = (
  "dit_digits",
  "dit_xl2",
  "dit_xl2_incontext",
  "dit_xl2_crossattention",
  "dit_xl2_adaln",
  "diffit_imagenet256",
  "diffit_cifar10",
  "sit_xl2",
  "consistency_training_digits",
  "consistency_distillation_digits",
  "easy_consistency_digits",
  "uvit_s2_cifar10",
  "uvit_s2_coco",
  "edm_cifar10_vp",
  "edm_cifar10_cond_ve",
  "edm_imagenet64",
  "get_base_cifar10",
  "get_base_cifar10_cond",
  "vit_base_cifar10",
  "vit_base_cifar10_cond_adaln",
)


def trace_training(config):
  """Returns the abstract state after a step."""
  model = build_model(config)
  batch = batch_shapes(config, model)
  seed = 0 if config.task == "distillation" else None
  conditioning = abstract_conditioning(config, model)
  step = build_training_step(config, model, seed, conditioning)
  state = jax.eval_shape(step.init_state, step.init_key)
  following, _ = jax.eval_shape(step.step, state, batch)
  assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
    lambda a: (a.shape, a.dtype), following
  )
  return following


def trace_sampling(config, params):
  """Returns the abstract samples."""
  model = build_model(config)
  conditioning = abstract_conditioning(config, model)
  generator = build_generator(config, conditioning=conditioning)
  sample = make_sample_fn(generator, make_mesh((1, 1, 1), jax.devices()[:1]))
  size = config.sampling.batch_size
  indices = jax.ShapeDtypeStruct((size,), jnp.uint32)
  return jax.eval_shape(
    lambda params, indices, y: sample(
      params, None, jax.random.key(0), indices, y
    ),
    params,
    indices,
    model.abstract_conditioning(size),
  )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_families(name):
  for dtype in ("float32", "bfloat16"):
    config = importlib.import_module(f"configs.{name}").get_config("smoke")
    config.model.dtype = dtype
    if name in ("edm_cifar10_cond_ve", "edm_imagenet64"):
      # Layers between levels too.
      config.model.channel_mult, config.model.attn_resolutions = (1, 1), (4,)
    with strict_modes():
      state = trace_training(config)
      images = trace_sampling(config, state.params)
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(state)}
    assert dtypes == {"float32", "int32"}, dtype
    assert images.dtype == jnp.float32, dtype
