"""Official checkpoints, read without executing anything."""

from get_jax.interop.read import read_checkpoint as read_checkpoint
