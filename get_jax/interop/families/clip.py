"""Official checkpoints of CLIP's text encoder, with names of `transformers`.

A file of the whole CLIP model and a file of the text encoder alone are both
accepted. In the latter, names may lack the prefix `text_model.`.
"""

from typing import Any

from get_jax.interop.families.family import (
  Family,
  Shapes,
  Tensors,
  count_modules,
)
from get_jax.interop.name_mapping import IDENTITY, NameRule
from get_jax.text.encoder import CLIPTextEncoder

_PREFIX = "text_model."


def _rules(model: CLIPTextEncoder) -> tuple[NameRule, ...]:
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
    *(NameRule(f"{layer}.{k}", f"{block}/{v}") for k, v in names.items()),
    NameRule(f"{embeddings}.token_embedding", "tokens"),
    NameRule(f"{embeddings}.position_embedding.weight", "positions", IDENTITY),
    NameRule(f"{_PREFIX}final_layer_norm", "norm"),
  )


def _canonicalize(tensors: Tensors, model: CLIPTextEncoder) -> Tensors:
  """Selects the text encoder, adds its prefix, drops the position indices."""
  del model
  if not any(name.startswith(_PREFIX) for name in tensors):
    tensors = {_PREFIX + name: tensor for name, tensor in tensors.items()}
  return {
    name: tensor
    for name, tensor in tensors.items()
    if name.startswith(_PREFIX) and not name.endswith("position_ids")
  }


def _infer_fields(shapes: Shapes, model: CLIPTextEncoder) -> dict[str, Any]:
  del model
  fields: dict[str, Any] = {
    "num_hidden_layers": count_modules(shapes, f"{_PREFIX}encoder.layers")
  }
  if tokens := shapes.get(f"{_PREFIX}embeddings.token_embedding.weight"):
    fields["vocab_size"], fields["hidden_size"] = tokens
  if hidden := shapes.get(f"{_PREFIX}encoder.layers.0.mlp.fc1.weight"):
    fields["intermediate_size"] = hidden[0]
  return fields


FAMILY = Family(
  name="text encoder",
  signature=f"{_PREFIX}final_layer_norm.weight",
  rules=_rules,
  infer_fields=_infer_fields,
  canonicalize=_canonicalize,
)
