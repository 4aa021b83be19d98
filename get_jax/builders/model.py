"""Builds the network of a config."""

import jax
import jax.numpy as jnp

from get_jax.builders.sections import name_and_fields
from get_jax.distillation.student import Student
from get_jax.equilibrium.settings import Settings
from get_jax.models import create_model


def build_model(config):
  """The network of `config.model`, solved as `config.equilibrium` says."""
  name, fields = name_and_fields(config.model)
  if config.get("equilibrium"):
    found = Settings.of(config.equilibrium.to_dict())
    fields |= {"solver": found.solver, "gradient": found.gradient}
  return create_model(name, **fields)


def image_shape(model) -> tuple[int, int, int]:
  """(H, W, C) of what the network sees."""
  size = model.input_size
  height, width = (size, size) if isinstance(size, int) else size
  return height, width, model.in_channels


def build_init(model):
  """`init(key) -> params` of a network."""

  def init(key):
    inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
    return model.init(key, *inputs)["params"]

  return init


def build_student(config, model) -> Student:
  """The one-step generator of a distillation."""
  return Student(model, image_shape(model), config.distillation.z0)
