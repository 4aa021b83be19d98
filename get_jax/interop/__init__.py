"""Official checkpoints, read without executing anything."""

from get_jax.interop.convert import export_checkpoint as export_checkpoint
from get_jax.interop.convert import import_checkpoint as import_checkpoint
from get_jax.interop.formats.read import read_checkpoint as read_checkpoint
