"""The parameters of a network: their shapes, and fresh ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def abstract_params(model: nn.Module):
  """The parameter tree as shapes and types; nothing is allocated."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(model.init, key, *model.inputs(1))["params"]


def init_params(model: nn.Module, key: jax.Array):
  """Fresh parameters, float32, a function of the PRNG key alone."""
  inputs = jax.tree.map(jnp.zeros_like, model.inputs(1))
  return jax.jit(model.init)(key, *inputs)["params"]
