"""The text half of CLIP's published files: names of `transformers`.

A file of the whole of CLIP and one of its text half alone will do; the latter
may leave out the prefix.
"""

import json
import os
import pathlib
from typing import Any

from get_jax.errors import UsageError
from get_jax.interop.family import Family, Shapes, Tensors, count
from get_jax.interop.names import SAME, Rule
from get_jax.interop.read import read_checkpoint
from get_jax.interop.wrappers import tensors_of
from get_jax.text.encoder import CLIPTextEncoder

_PREFIX = "text_model."
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# What `transformers` takes where a config is silent.
_SILENT = dict(hidden_size=512, intermediate_size=2048, num_attention_heads=8)


def load_text_encoder(
  path: str | os.PathLike[str], **fields
) -> tuple[CLIPTextEncoder, dict[str, Any]]:
  """A text encoder with its published weights.

  Args:
    path: a folder as published on hubs: config.json beside the weights, of
      CLIP (openai/clip-vit-large-patch14) or of its text half (text_encoder of
      Stable Diffusion 1.x).
    fields: of `CLIPTextEncoder`, in place of the folder's.

  Returns:
    The module and its parameters, NumPy float32.

  Raises:
    UsageError: something is missing, damaged, or does not fit.
  """
  from get_jax.interop.official import load_official

  folder = pathlib.Path(path)
  model = CLIPTextEncoder(**_config(folder / "config.json") | fields)
  files = [folder / name for name in _WEIGHTS if (folder / name).exists()]
  if not files:
    raise UsageError(
      f"the folder {folder} holds no weights; expected one of: "
      + ", ".join(_WEIGHTS)
    )
  try:
    return model, load_official(model, tensors_of(read_checkpoint(files[0])))
  except UsageError as error:
    raise UsageError(f"{files[0]}: {error}") from None


def _config(path: pathlib.Path) -> dict[str, Any]:
  """The fields that a published config.json sets."""
  if not path.exists():
    raise UsageError(f"there is no {path} to tell the text encoder's sizes")
  try:
    found = json.loads(path.read_text("utf-8"))
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({error})") from error
  found = found.get("text_config") or found
  known = set(CLIPTextEncoder.__dataclass_fields__) - {
    "dtype",
    "name",
    "parent",
  }
  return _SILENT | {k: v for k, v in found.items() if k in known}


def _rules(model: CLIPTextEncoder) -> tuple[Rule, ...]:
  del model
  layer, block = f"{_PREFIX}encoder.layers.{{}}", "blocks_{}"
  names = {
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "out",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp/fc1",
    "mlp.fc2": "mlp/fc2",
  }
  embeddings = f"{_PREFIX}embeddings"
  return (
    *(Rule(f"{layer}.{k}", f"{block}/{v}") for k, v in names.items()),
    Rule(f"{embeddings}.token_embedding", "tokens"),
    Rule(f"{embeddings}.position_embedding.weight", "positions", SAME),
    Rule(f"{_PREFIX}final_layer_norm", "norm"),
  )


def _translate(tensors: Tensors, model: CLIPTextEncoder) -> Tensors:
  """The text half alone, with its prefix and without its constant."""
  del model
  if not any(name.startswith(_PREFIX) for name in tensors):
    tensors = {_PREFIX + name: tensor for name, tensor in tensors.items()}
  return {
    name: tensor
    for name, tensor in tensors.items()
    if name.startswith(_PREFIX) and not name.endswith("position_ids")
  }


def _fields(shapes: Shapes, model: CLIPTextEncoder) -> dict[str, Any]:
  del model
  fields: dict[str, Any] = {
    "num_hidden_layers": count(shapes, f"{_PREFIX}encoder.layers")
  }
  if tokens := shapes.get(f"{_PREFIX}embeddings.token_embedding.weight"):
    fields["vocab_size"], fields["hidden_size"] = tokens
  if hidden := shapes.get(f"{_PREFIX}encoder.layers.0.mlp.fc1.weight"):
    fields["intermediate_size"] = hidden[0]
  return fields


FAMILY = Family(
  name="text encoder",
  telltale=f"{_PREFIX}final_layer_norm.weight",
  rules=_rules,
  fields=_fields,
  translate=_translate,
)
