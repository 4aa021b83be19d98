"""Checkpoints of GET and of its ViT baseline: names of the official code."""

from typing import Any

import numpy as np

from get_jax.interop.families.family import Family, Shapes, Tensors, count
from get_jax.interop.families.transformer import (
  block_fields,
  block_rules,
  embedding_fields,
  embedding_rules,
)
from get_jax.interop.names import LINEAR, Rule, Transform
from get_jax.models.get import GET
from get_jax.models.vit import ViT

_TELLTALE = "qkv_inj.weight"
_FINAL = (
  Rule("final_layer.norm_final", "final_layer/norm"),
  Rule("final_layer.linear", "final_layer/linear"),
)


_LINEARS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
_COLUMN = Transform(lambda x: x[:, 0], lambda x: x[:, None])


def _weight_norm_rules() -> tuple[Rule, ...]:
  """Directions and magnitudes of the equilibrium blocks' kernels."""
  rules = []
  for name in _LINEARS:
    kernel = name.replace(".", "/") + "/kernel"
    official = f"deq_blocks.{{}}.{name}.weight"
    ours = f"equilibrium_blocks_{{}}/{kernel}"
    rules.append(Rule(f"{official}_v", ours, LINEAR))
    ours = f"weight_norms_{{}}/magnitude:{kernel}"
    rules.append(Rule(f"{official}_g", ours, _COLUMN))
  return tuple(rules)


def _get_rules(model: GET) -> tuple[Rule, ...]:
  return (
    *(_weight_norm_rules() if model.weight_norm else ()),
    *embedding_rules(model),
    *block_rules("blocks.{}", "blocks_{}"),
    Rule("qkv_inj", "qkv_injection"),
    *block_rules("deq_blocks.{}", "equilibrium_blocks_{}"),
    *_FINAL,
  )


def _get_fields(shapes: Shapes, model: GET) -> dict[str, Any]:
  if _TELLTALE not in shapes:
    return {}
  fields = embedding_fields(shapes, model)
  fields["injection_depth"] = count(shapes, "blocks")
  fields["equilibrium_depth"] = count(shapes, "deq_blocks")
  if hidden := shapes.get("deq_blocks.0.mlp.fc1.weight"):
    fields["equilibrium_mlp_ratio"] = hidden[0] / hidden[1]
  return fields


def _vit_rules(model: ViT) -> tuple[Rule, ...]:
  return (
    *embedding_rules(model),
    *block_rules("blocks.{}", "blocks_{}"),
    # No official code has these: names in its manner.
    Rule("blocks.{}.adaLN_modulation.1", "blocks_{}/adaln"),
    Rule("final_layer.adaLN_modulation.1", "final_layer/adaln"),
    *_FINAL,
  )


def _vit_fields(shapes: Shapes, model: ViT) -> dict[str, Any]:
  fields = embedding_fields(shapes, model) | block_fields(shapes, model)
  adaptive = "blocks.0.adaLN_modulation.1.weight" in shapes
  if model.num_classes:
    fields["conditioning"] = "adaLN-Zero" if adaptive else "injection"
  return fields


def _fold_weight_norm(tensors: Tensors, model: GET) -> Tensors:
  """w = v g / |v|, row by row, where the blocks were trained under it.

  A model with `weight_norm` of its own takes the two as they are.
  """
  if model.weight_norm:
    return tensors
  out = dict(tensors)
  for name in tensors:
    stem = name.removesuffix(".weight_g")
    if stem != name and f"{stem}.weight_v" in tensors:
      g, v = out.pop(name), np.float64(out.pop(f"{stem}.weight_v"))
      out[f"{stem}.weight"] = v * (g / np.linalg.norm(v, axis=1, keepdims=True))
  return out


GET_FAMILY = Family(
  "GET", _TELLTALE, _get_rules, _get_fields, _fold_weight_norm
)
VIT_FAMILY = Family("ViT", "", _vit_rules, _vit_fields)
