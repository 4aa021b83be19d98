"""Checkpoint files in and out: what --mode=convert does."""

import json
import os
from typing import Any

import flax.linen as nn
import safetensors.numpy

import get_jax
from get_jax.errors import UsageError
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.official import export_official, load_official
from get_jax.interop.state_dicts import tensors_of


def import_checkpoint(
  path: str | os.PathLike[str], model: nn.Module
) -> dict[str, Any]:
  """Parameters of a model from an official checkpoint file of any format.

  Args:
    path: a .pt, .pth, .safetensors or EDM .pkl; of a training checkpoint the
      moving average is taken.
    model: a network of `create_model`, of the size in the file.

  Returns:
    The parameter tree, NumPy float32.

  Raises:
    UsageError: the file is missing, hostile, damaged, or of another model.
  """
  checkpoint = read_checkpoint(path)
  try:
    return load_official(model, tensors_of(checkpoint))
  except UsageError as error:
    raise UsageError(f"{os.fspath(path)}: {error}") from None


def export_checkpoint(
  path: str | os.PathLike[str],
  model: nn.Module,
  params: Any,
  metadata: dict[str, Any] | None = None,
) -> None:
  """Writes parameters under their official names as a safetensors file.

  Args:
    path: the file, ending in .safetensors.
    model: the network.
    params: its parameters.
    metadata: facts to keep in the file's header, as the config.

  Raises:
    UsageError: the name has another ending, or the folder is missing.
  """
  path = os.fspath(path)
  if not path.endswith(".safetensors"):
    raise UsageError(f"{path} is no name to export to; expected *.safetensors")
  folder = os.path.dirname(path) or "."
  if not os.path.isdir(folder):
    raise UsageError(f"there is no folder {folder} to export to")
  header = {"format": "pt", "writer": f"get_jax {get_jax.__version__}"}
  header |= {
    key: value if isinstance(value, str) else json.dumps(value)
    for key, value in (metadata or {}).items()
  }
  # Written beside and moved: a half-written file never bears the name.
  temporary = f"{path}.tmp"
  tensors = export_official(model, params)
  safetensors.numpy.save_file(tensors, temporary, header)
  os.replace(temporary, path)
