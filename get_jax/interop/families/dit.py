"""DiT's checkpoints: names of the official code.

The official code has adaLN-Zero only. The other block designs are written in
its manner, so that a file of ours is read back.
"""

from typing import Any

from get_jax.interop.families import diffit, dit_diffusers
from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.families.transformer import (
  TIME_RULES,
  block_fields,
  block_rules,
  embedding_fields,
  embedding_rules,
)
from get_jax.interop.names import Rule
from get_jax.models.dit import DiT


def _rules(model: DiT) -> tuple[Rule, ...]:
  return (
    *embedding_rules(model),
    *TIME_RULES,
    *block_rules("blocks.{}", "blocks_{}"),
    *diffit.TMSA_RULES,
    Rule("blocks.{}.adaLN_modulation.1", "blocks_{}/adaln"),
    Rule("blocks.{}.cross_attn.q", "blocks_{}/cross/q"),
    Rule("blocks.{}.cross_attn.kv", "blocks_{}/cross/kv"),
    Rule("blocks.{}.cross_attn.proj", "blocks_{}/cross/proj"),
    Rule("final_layer.adaLN_modulation.1", "final_layer/adaln"),
    Rule("final_layer.linear", "final_layer/linear"),
  )


def _fields(shapes: Shapes, model: DiT) -> dict[str, Any]:
  fields = embedding_fields(shapes, model) | block_fields(shapes, model)
  head = shapes.get("blocks.0.adaLN_modulation.1.weight")
  if head:
    fields["block"] = "adaLN-Zero" if head[0] == 6 * head[1] else "adaLN"
  elif "blocks.0.cross_attn.q.weight" in shapes:
    fields["block"] = "cross-attention"
  else:
    fields["block"] = "in-context"
  return fields


def _constants(model: DiT) -> Tensors:
  return diffit.constants(model) if model.block == "TMSA" else {}


FAMILY = Family(
  name="DiT",
  telltale="final_layer.adaLN_modulation.1.weight",
  rules=_rules,
  fields=_fields,
  translate=dit_diffusers.translate,
  constants=_constants,
)
