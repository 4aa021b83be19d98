"""Imports and exports checkpoint files, as `--mode=convert` does."""

import json
import os
from typing import Any

import flax.linen as nn
import safetensors.numpy

import get_jax
from get_jax.errors import UsageError
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.official import (
  export_official,
  infer_model,
  load_official,
)
from get_jax.interop.state_dict import extract_state_dict
from get_jax.models.base import ImageModel


def import_checkpoint(
  path: str | os.PathLike[str], model: nn.Module
) -> dict[str, Any]:
  """Loads the parameters of a model from an official checkpoint file.

  Args:
    path: a file in any supported format: .pt, .pth, .safetensors or EDM's
      .pkl. From a training checkpoint, the exponential moving average of the
      weights is loaded.
    model: a network made by `create_model`, with the sizes of the file.

  Returns:
    The parameter tree, NumPy float32.

  Raises:
    UsageError: the file is missing, unsafe or damaged, or belongs to another
      model.
  """
  checkpoint = read_checkpoint(path)
  try:
    return load_official(model, extract_state_dict(checkpoint))
  except UsageError as error:
    raise UsageError(f"{os.fspath(path)}: {error}") from None


def import_checkpoint_of_any_size(
  path: str | os.PathLike[str], model: ImageModel
) -> tuple[dict[str, Any], ImageModel]:
  """Loads the parameters of a file whose network has other sizes.

  Args:
    path: see `import_checkpoint`.
    model: a network of the same family. What the shapes in the file do not
      tell, such as the number of heads, is taken from it.

  Returns:
    The parameter tree, NumPy float32, and the network that it belongs to.

  Raises:
    UsageError: see `import_checkpoint`, or the file fits inputs of two shapes.
  """
  tensors = extract_state_dict(read_checkpoint(path))
  try:
    source = infer_model(model, tensors)
    return load_official(source, tensors), source
  except UsageError as error:
    raise UsageError(f"{os.fspath(path)}: {error}") from None


def export_checkpoint(
  path: str | os.PathLike[str],
  model: nn.Module,
  params: Any,
  metadata: dict[str, Any] | None = None,
) -> None:
  """Writes parameters under their official names to a safetensors file.

  Args:
    path: file name that ends in .safetensors.
    model: the network.
    params: its parameters.
    metadata: entries for the header of the file, for example the config.
      Values that are not strings are stored as JSON.

  Raises:
    UsageError: the file name has another suffix, or its folder does not exist.
  """
  path = os.fspath(path)
  if not path.endswith(".safetensors"):
    raise UsageError(f"cannot export to {path}; expected *.safetensors")
  folder = os.path.dirname(path) or "."
  if not os.path.isdir(folder):
    raise UsageError(
      f"cannot export to {path}: the folder {folder} does not exist"
    )
  header = {"format": "pt", "writer": f"get_jax {get_jax.__version__}"}
  header |= {
    key: value if isinstance(value, str) else json.dumps(value)
    for key, value in (metadata or {}).items()
  }
  # The rename is atomic, so `path` never names a partly written file.
  temporary = f"{path}.tmp"
  tensors = export_official(model, params)
  safetensors.numpy.save_file(tensors, temporary, header)
  os.replace(temporary, path)
