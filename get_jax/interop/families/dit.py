"""Official checkpoints of DiT.

The official code has adaLN-Zero blocks only. The names of the other block
designs follow its style, so that exported files can be imported again.
"""

from typing import Any

from get_jax.interop.families import diffit, dit_diffusers, transformer
from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.name_mapping import NameRule
from get_jax.models.dit import DiT


def _rules(model: DiT) -> tuple[NameRule, ...]:
  return (
    *transformer.denoiser_rules(model),
    *diffit.TMSA_RULES,
    NameRule("blocks.{}.adaLN_modulation.1", "blocks_{}/adaln"),
    NameRule("blocks.{}.cross_attn.q", "blocks_{}/cross/q"),
    NameRule("blocks.{}.cross_attn.kv", "blocks_{}/cross/kv"),
    NameRule("blocks.{}.cross_attn.proj", "blocks_{}/cross/proj"),
    NameRule("final_layer.adaLN_modulation.1", "final_layer/adaln"),
  )


def _infer_fields(shapes: Shapes, model: DiT) -> dict[str, Any]:
  fields = transformer.infer_backbone_fields(shapes, model)
  modulation = shapes.get("blocks.0.adaLN_modulation.1.weight")
  if modulation:
    gated = modulation[0] == 6 * modulation[1]
    fields["block"] = "adaLN-Zero" if gated else "adaLN"
  elif "blocks.0.cross_attn.q.weight" in shapes:
    fields["block"] = "cross-attention"
  else:
    fields["block"] = "in-context"
  return fields


def _constants(model: DiT) -> Tensors:
  return diffit.constants(model) if model.block == "TMSA" else {}


FAMILY = Family(
  name="DiT",
  signature="final_layer.adaLN_modulation.1.weight",
  rules=_rules,
  infer_fields=_infer_fields,
  canonicalize=dit_diffusers.canonicalize,
  constants=_constants,
)
