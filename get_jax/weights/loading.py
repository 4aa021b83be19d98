"""Loads published weights by name."""

import pathlib
from typing import Any

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.inception_weights import inception_params
from get_jax.interop import load_text_encoder, read_checkpoint
from get_jax.interop.pretrained import open_autoencoder
from get_jax.models import create_model
from get_jax.models.base import ImageModel
from get_jax.weights.converted import load_converted
from get_jax.weights.fetching import fetch
from get_jax.weights.packaged import load_packaged
from get_jax.weights.registry import find


def load(name: str, accept_licence: bool = False) -> dict[str, Any]:
  """Returns the parameters of published weights.

  They are downloaded, verified and converted on first use.

  Args:
    name: a network, autoencoder, text encoder or extractor.
    accept_licence: see `fetch`.

  Returns:
    The parameter tree, NumPy float32.

  Raises:
    UsageError: see `fetch`; or the entry is reference statistics.
  """
  entry = find(name)
  if entry.kind == "reference":
    raise UsageError(
      f"{name} has no parameters, it is reference statistics; expected another "
      "name, or get_jax.weights.fetch for its file"
    )
  if entry.packaged:
    return load_packaged(entry)
  path = fetch(name, accept_licence)
  match entry.kind:
    case "network":
      return load_converted(path, create_network(name))
    case "autoencoder":
      model, file = open_autoencoder(path)
      return load_converted(pathlib.Path(file), model)
    case "text encoder":
      return load_text_encoder(path)[1]
    case "extractor":
      return inception_params(read_checkpoint(path))


def create_network(name: str) -> ImageModel:
  """Returns the network that published weights belong to.

  Raises:
    UsageError: the name is unknown, or not that of a network.
  """
  return create_model(**find(name, "network").model)
