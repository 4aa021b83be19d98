"""Networks as flax.linen modules, without input or output of files."""

from get_jax.models.registry import create_model

__all__ = ["create_model"]
