"""Imports and exports official checkpoints without executing their contents."""

from get_jax.interop.convert import (
  export_checkpoint,
  import_checkpoint,
  import_checkpoint_of_any_size,
)
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.official import export_official, load_official
from get_jax.interop.pretrained import load_autoencoder, load_text_encoder

__all__ = [
  "export_checkpoint",
  "export_official",
  "import_checkpoint",
  "import_checkpoint_of_any_size",
  "load_autoencoder",
  "load_official",
  "load_text_encoder",
  "read_checkpoint",
]
