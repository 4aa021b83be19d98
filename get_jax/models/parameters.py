"""Shapes and initialisation of a network's parameters."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def abstract_params(model: nn.Module) -> Any:
  """Returns the parameter tree as shapes and dtypes, without allocation.

  Args:
    model: A module with a method `inputs`, such as those of `create_model`.
  """
  key = jax.eval_shape(lambda: jax.random.key(0))
  return _init.eval_shape(model, key, *model.inputs(1))["params"]


def init_params(model: nn.Module, key: jax.Array) -> Any:
  """Initialises the parameters in float32.

  Args:
    model: A module with a method `inputs`, such as those of `create_model`.
    key: PRNG key; the parameters are a function of it alone.
  """
  inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
  return _init(model, key, *inputs)["params"]


@functools.partial(jax.jit, static_argnums=0)
def _init(model: nn.Module, key: jax.Array, *inputs: Any) -> Any:
  """Equal networks are traced and compiled once."""
  return model.init(key, *inputs)
