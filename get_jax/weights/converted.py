"""Converted parameters, kept next to the file that they were read from."""

import hashlib
import json
import logging
import os
import pathlib
from typing import Any

import flax.linen as nn
import safetensors
import safetensors.numpy
from flax import traverse_util

from get_jax.interop import import_checkpoint
from get_jax.interop.families import find_family
from get_jax.models.parameters import abstract_params
from get_jax.weights import digests

# To be raised when the conversion or the names of parameters change.
VERSION = 1
log = logging.getLogger(__name__)


def load_converted(path: pathlib.Path, model: nn.Module) -> dict[str, Any]:
  """Loads an official checkpoint; only the first time it is converted.

  The result is stored as `<path>.params-<key>.safetensors`. The key is a hash
  of the SHA-256 of the checkpoint, the family and the shapes of the parameters,
  and of `VERSION`. A stored result that was damaged is written anew.

  Args:
    path: a verified checkpoint file.
    model: a network of the sizes of the file, or an autoencoder.

  Returns:
    The parameter tree, NumPy float32.

  Raises:
    UsageError: see `import_checkpoint`.
  """
  shapes = {
    "/".join(keys): list(leaf.shape)
    for keys, leaf in traverse_util.flatten_dict(abstract_params(model)).items()
  }
  key = json.dumps(
    [VERSION, digests.file_digest(path), find_family(model).name, shapes],
    sort_keys=True,
  )
  code = hashlib.sha256(key.encode()).hexdigest()[:16]
  stored = path.with_name(f"{path.name}.params-{code}.safetensors")
  params = _read(stored)
  if params is None:
    params = import_checkpoint(path, model)
    _write(stored, params)
  return params


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  """Reads stored parameters; None if there are none or they are damaged."""
  digest = digests.read_record(path)
  if digest is None or not path.is_file():
    return None
  if digests.file_digest(path) != digest:
    return None
  flat = safetensors.numpy.load_file(path)
  return traverse_util.unflatten_dict(flat, sep="/")


def _write(path: pathlib.Path, params: dict[str, Any]) -> None:
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    safetensors.numpy.save_file(
      traverse_util.flatten_dict(params, sep="/"), temporary
    )
    digests.record(temporary, path)
    temporary.replace(path)
  except (OSError, safetensors.SafetensorError) as error:
    temporary.unlink(missing_ok=True)
    log.warning("%s is converted again next time (%s)", path, error)
