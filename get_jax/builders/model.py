"""Builds the network of a config."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from get_jax.builders.sections import name_and_fields
from get_jax.distillation.student import Student
from get_jax.equilibrium.settings import Settings
from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.base import Denoiser, ImageModel
from get_jax.models.parameters import abstract_inputs


def build_model(config: ml_collections.ConfigDict) -> ImageModel:
  """Builds the network of `config.model`.

  If the config has a section `equilibrium`, the network gets the solver and
  the gradient of that section.
  """
  name, fields = name_and_fields(config.model)
  if config.get("equilibrium"):
    settings = Settings.from_config(config.equilibrium.to_dict())
    fields |= {"solver": settings.solver, "gradient": settings.gradient}
  return create_model(name, **fields)


def image_shape(model: nn.Module) -> tuple[int, int, int]:
  """Returns (H, W, C) of the images or latents that a network takes."""
  size = model.input_size
  height, width = (size, size) if isinstance(size, int) else size
  return height, width, model.in_channels


@functools.lru_cache
def build_init(model: nn.Module) -> Callable[[jax.Array], dict]:
  """Builds the initialisation `init(key) -> params` of a network.

  Equal networks share one function, so that JAX traces it once for its shapes.
  """

  def init(key):
    inputs, scalars = jax.tree.map(jnp.zeros_like, abstract_inputs(model))
    return model.init(key, *inputs, **scalars)["params"]

  return init


def build_student(
  config: ml_collections.ConfigDict, model: nn.Module
) -> Student:
  """Builds the one-step generator of a distillation.

  Raises:
    UsageError: the network needs texts or further scalars as inputs.
  """
  section, time = config.distillation, None
  if isinstance(model, Denoiser):
    _check_student(config.model.name, model)
    time = section.get("time", 0.0)
  return Student(model, image_shape(model), section.z0, time)


def _check_student(name: str, model: Denoiser) -> None:
  """Checks that a denoiser needs noise, time and labels alone."""
  y = model.abstract_conditioning(1)
  if model.scalars:
    raise UsageError(
      f"model.scalars is {tuple(model.scalars)} for {name}; expected none, "
      "which task='distillation' needs"
    )
  if y is not None and y.ndim > 1:
    raise UsageError(
      f"{name} takes texts; task='distillation' needs a network with labels or "
      "without conditioning, because pairs have no texts"
    )
