"""The text half of CLIP's published files: names of `transformers`.

A file of the whole of CLIP and one of its text half alone will do; the latter
may leave out the prefix.
"""

from typing import Any

from get_jax.interop.families.family import Family, Shapes, Tensors, count
from get_jax.interop.names import SAME, Rule
from get_jax.text.encoder import CLIPTextEncoder

_PREFIX = "text_model."


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
