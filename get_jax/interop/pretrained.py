"""Loads pretrained models from published folders or weight files.

A published folder, as on the Hugging Face Hub, holds `config.json` and weights.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import flax.linen as nn

from get_jax.autoencoder import AutoencoderKL, create_autoencoder
from get_jax.errors import UsageError, reason
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.official import load_official
from get_jax.interop.state_dict import extract_state_dict
from get_jax.storage.json_files import parse_json
from get_jax.storage.paths import Path, as_path
from get_jax.text.encoder import CLIPTextEncoder

Model = TypeVar("Model", bound=nn.Module)

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
    fields = _select_fields(AutoencoderKL, config) | fields
    if "block_out_channels" in fields:
      fields["block_out_channels"] = tuple(fields["block_out_channels"])
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
  published = _select_fields(
    CLIPTextEncoder, config.get("text_config") or config
  )
  model = CLIPTextEncoder(**_TEXT_DEFAULTS | published | fields)
  return _load(model, _find_weights(folder, _TEXT_WEIGHTS))


def _load(model: Model, path: Path) -> tuple[Model, dict[str, Any]]:
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
  try:
    content = parse_json(path.read_bytes())
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({reason(error)})") from error
  if not isinstance(content, dict):
    raise UsageError(f"{path} is no JSON object; expected one with fields")
  return content


def _select_fields(
  module: type[nn.Module], config: dict[str, Any]
) -> dict[str, Any]:
  """Returns the entries of a published config that are fields of the module."""
  names = {field.name for field in dataclasses.fields(module)}
  names -= {"dtype", "name", "parent"}
  return {k: v for k, v in config.items() if k in names and v is not None}
