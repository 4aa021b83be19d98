"""Shapes and initialisation of a network's parameters."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.models.base import ImageModel


def abstract_params(model: nn.Module) -> Any:
  """Returns the parameter tree as shapes and dtypes, without allocation.

  Args:
    model: A module with a method `inputs`, such as those of `create_model`.
  """
  key = jax.eval_shape(lambda: jax.random.key(0))
  inputs, scalars = abstract_inputs(model)
  return _init.eval_shape(model, key, *inputs, **scalars)["params"]


def init_params(model: nn.Module, key: jax.Array) -> Any:
  """Initialises the parameters in float32.

  Args:
    model: A module with a method `inputs`, such as those of `create_model`.
    key: PRNG key; the parameters are a function of it alone.
  """
  inputs, scalars = jax.tree.map(jnp.zeros_like, abstract_inputs(model))
  return _init(model, key, *inputs, **scalars)["params"]


def abstract_inputs(
  model: nn.Module, batch_size: int = 1
) -> tuple[tuple[Any, ...], dict[str, Any]]:
  """Returns the positional and keyword arguments of a call, as shapes.

  Args:
    model: A module with a method `inputs`, such as those of `create_model`.
    batch_size: Number of samples.
  """
  keywords: dict[str, Any] = {}
  if isinstance(model, ImageModel):
    keywords = model.scalar_inputs(batch_size)
  return model.inputs(batch_size), keywords


@functools.partial(jax.jit, static_argnums=0)
def _init(
  model: nn.Module, key: jax.Array, *inputs: Any, **scalars: Any
) -> Any:
  """Equal networks are traced and compiled once."""
  return model.init(key, *inputs, **scalars)
