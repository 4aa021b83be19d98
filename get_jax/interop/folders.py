"""Loads models from folders as published on hubs: config.json and weights."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from get_jax.autoencoder import AutoencoderKL, create_autoencoder
from get_jax.errors import UsageError
from get_jax.interop.formats.read import read_checkpoint
from get_jax.interop.official import load_official
from get_jax.interop.state_dicts import tensors_of
from get_jax.text.encoder import CLIPTextEncoder

_AUTOENCODER_WEIGHTS = (
  "diffusion_pytorch_model.safetensors",
  "diffusion_pytorch_model.bin",
)
_TEXT_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Defaults of `transformers` for keys that a CLIP config.json leaves out.
_TEXT_DEFAULTS = dict(
  hidden_size=512, intermediate_size=2048, num_attention_heads=8
)


def load_autoencoder(
  path: str | os.PathLike[str], **fields
) -> tuple[AutoencoderKL, dict[str, Any]]:
  """Loads an autoencoder with its published weights.

  Args:
    path: a folder as published on hubs (config.json beside the weights), or a
      file of weights alone: an autoencoder's or a whole Stable Diffusion's.
    fields: of `AutoencoderKL`; they override those of the folder. A file that
      is not Stable Diffusion's needs them, or `name` for named settings.

  Returns:
    The module and its parameters, NumPy float32.

  Raises:
    UsageError: something is missing, damaged, or does not fit.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    found = _read_config(path / "config.json", "autoencoder")
    fields = _known(AutoencoderKL, found) | fields
    if "block_out_channels" in fields:
      fields["block_out_channels"] = tuple(fields["block_out_channels"])
    path = _find_weights(path, _AUTOENCODER_WEIGHTS)
  return _load(create_autoencoder(**fields), path)


def load_text_encoder(
  path: str | os.PathLike[str], **fields
) -> tuple[CLIPTextEncoder, dict[str, Any]]:
  """Loads a text encoder with its published weights.

  Args:
    path: a folder as published on hubs: config.json beside the weights, of
      CLIP (openai/clip-vit-large-patch14) or of its text half (text_encoder of
      Stable Diffusion 1.x).
    fields: of `CLIPTextEncoder`; they override those of the folder.

  Returns:
    The module and its parameters, NumPy float32.

  Raises:
    UsageError: something is missing, damaged, or does not fit.
  """
  folder = pathlib.Path(path)
  found = _read_config(folder / "config.json", "text encoder")
  found = _known(CLIPTextEncoder, found.get("text_config") or found)
  model = CLIPTextEncoder(**_TEXT_DEFAULTS | found | fields)
  return _load(model, _find_weights(folder, _TEXT_WEIGHTS))


def _load(model, path: pathlib.Path):
  try:
    return model, load_official(model, tensors_of(read_checkpoint(path)))
  except UsageError as error:
    raise UsageError(f"{path}: {error}") from None


def _find_weights(folder: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
  for name in names:
    if (folder / name).exists():
      return folder / name
  raise UsageError(
    f"the folder {folder} holds no weights; expected one of: "
    + ", ".join(names)
  )


def _read_config(path: pathlib.Path, what: str) -> dict[str, Any]:
  if not path.exists():
    raise UsageError(f"{path} does not exist; expected the {what}'s config")
  try:
    return json.loads(path.read_text("utf-8"))
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({error})") from error


def _known(module: type[nn.Module], found: dict[str, Any]) -> dict[str, Any]:
  """The keys of a published config that are fields of the module."""
  known = set(module.__dataclass_fields__) - {"dtype", "name", "parent"}
  return {k: v for k, v in found.items() if k in known and v is not None}
