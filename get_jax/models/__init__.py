"""The networks: flax.linen modules without input or output."""

from get_jax.models.registry import create_model as create_model
