"""Readers of checkpoint file formats that execute nothing in the file."""

from get_jax.interop.formats.read import read_checkpoint

__all__ = ["read_checkpoint"]
