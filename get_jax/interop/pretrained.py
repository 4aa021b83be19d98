"""Loads pretrained models from published folders or weight files.

A published folder, as on the Hugging Face Hub, holds `config.json` and weights.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import flax.linen as nn

from get_jax.autoencoder import AutoencoderKL, create_autoencoder
from get_jax.errors import UsageError, reason, shorten
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.official import load_official
from get_jax.interop.state_dict import extract_state_dict
from get_jax.models.parameters import abstract_params
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import Path, as_path
from get_jax.text.encoder import CLIPTextEncoder

Model = TypeVar("Model", bound=nn.Module)

# Bounds of the integers in a published config: sizes, and numbers of layers.
_MAX_SIZE, _MAX_LAYERS = 1 << 20, 256

_AUTOENCODER_WEIGHTS = (
  "diffusion_pytorch_model.safetensors",
  "diffusion_pytorch_model.bin",
)
_TEXT_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Defaults of `transformers` for keys that are missing in CLIP's config.json.
_TEXT_DEFAULTS = dict(
  hidden_size=512, intermediate_size=2048, num_attention_heads=8
)


def load_autoencoder(
  path: str | os.PathLike[str], **fields
) -> tuple[AutoencoderKL, dict[str, Any]]:
  """Loads an autoencoder with its published weights.

  Args:
    path: a published folder with config.json and weights, or a weight file of
      an autoencoder or of a whole Stable Diffusion model.
    **fields: fields of `AutoencoderKL`, which override those of the folder. For
      a weight file of another model than Stable Diffusion, they are required;
      `name` selects named settings.

  Returns:
    The module and its parameters, NumPy float32.

  Raises:
    UsageError: a file is missing or damaged, or does not fit the model.
  """
  return _load(*open_autoencoder(path, **fields))


def open_autoencoder(
  path: str | os.PathLike[str], **fields
) -> tuple[AutoencoderKL, Path]:
  """Returns an autoencoder without parameters, and the file of its weights.

  Args:
    path: see `load_autoencoder`.
    **fields: see `load_autoencoder`.

  Raises:
    UsageError: a file is missing or damaged.
  """
  weights = as_path(path)
  if weights.is_dir():
    config = _read_config(weights / "config.json", "autoencoder")
    fields = _select_fields(AutoencoderKL, config, weights) | fields
    weights = _find_weights(weights, _AUTOENCODER_WEIGHTS)
  return create_autoencoder(**fields), weights


def load_text_encoder(
  path: str | os.PathLike[str], **fields
) -> tuple[CLIPTextEncoder, dict[str, Any]]:
  """Loads a text encoder with its published weights.

  Args:
    path: a published folder with config.json and weights, of CLIP
      (openai/clip-vit-large-patch14) or of its text encoder (`text_encoder` of
      Stable Diffusion 1.x).
    **fields: fields of `CLIPTextEncoder`, which override those of the folder.

  Returns:
    The module and its parameters, NumPy float32.

  Raises:
    UsageError: a file is missing or damaged, or does not fit the model.
  """
  folder = as_path(path)
  config = _read_config(folder / "config.json", "text encoder")
  of_text = config.get("text_config")
  published = _select_fields(
    CLIPTextEncoder, of_text if isinstance(of_text, dict) else config, folder
  )
  model = CLIPTextEncoder(**_TEXT_DEFAULTS | published | fields)
  return _load(model, _find_weights(folder, _TEXT_WEIGHTS))


def _load(model: Model, path: Path) -> tuple[Model, dict[str, Any]]:
  try:
    abstract_params(model)
  except (TypeError, ValueError, ArithmeticError) as error:
    raise UsageError(
      f"{path.parent / 'config.json'} describes no possible network "
      f"({reason(error)})"
    ) from error
  try:
    return model, load_official(
      model, extract_state_dict(read_checkpoint(path))
    )
  except UsageError as error:
    raise UsageError(f"{path}: {error}") from None


def _find_weights(folder: Path, names: Sequence[str]) -> Path:
  for name in names:
    if (folder / name).exists():
      return folder / name
  raise UsageError(
    f"the folder {folder} holds no weights; expected one of: "
    + ", ".join(names)
  )


def _read_config(path: Path, model: str) -> dict[str, Any]:
  if not path.exists():
    raise UsageError(
      f"{path} does not exist; expected the config of the {model}"
    )
  return read_json_object(path, "one with fields")


def _select_fields(
  module: type[nn.Module], config: dict[str, Any], folder: Path
) -> dict[str, Any]:
  """Returns the entries of a published config that are fields of the module.

  Args:
    module: type of the network.
    config: entries of the config.
    folder: its folder, for messages.

  Raises:
    UsageError: an entry has a value that no such network has.
  """
  fields = {}
  for field in dataclasses.fields(module):
    value = config.get(field.name)
    if value is None or field.name in ("dtype", "name", "parent"):
      continue
    if not _is_possible(field.name, value, field.default):
      raise UsageError(
        f"{folder / 'config.json'}: {field.name} is {shorten(value)}; expected "
        f"a value such as {field.default!r}"
      )
    fields[field.name] = tuple(value) if isinstance(value, list) else value
  return fields


def _is_possible(name: str, value: Any, default: Any) -> bool:
  """Returns whether a value has the type and the range of a field."""
  if isinstance(default, tuple):
    return (
      isinstance(value, list)
      and 0 < len(value) <= _MAX_LAYERS
      and all(_is_possible(name, item, default[0]) for item in value)
    )
  if type(default) is int:
    largest = _MAX_LAYERS if "layers" in name else _MAX_SIZE
    return type(value) is int and 0 < value <= largest
  if type(default) is float:
    return type(value) in (int, float) and math.isfinite(value)
  return type(value) is type(default)
