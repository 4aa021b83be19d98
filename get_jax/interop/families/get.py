"""Official checkpoints of GET, and of its ViT baseline."""

from typing import Any

import numpy as np

from get_jax.interop.families.family import (
  Family,
  Shapes,
  Tensors,
  count_modules,
  infer_mlp_ratio,
)
from get_jax.interop.families.transformer import (
  block_rules,
  embedding_rules,
  infer_backbone_fields,
  infer_embedding_fields,
)
from get_jax.interop.name_mapping import LINEAR, LayoutTransform, NameRule
from get_jax.models.get import GET
from get_jax.models.vit import ViT

_SIGNATURE = "qkv_inj.weight"
_FINAL_RULES = (
  NameRule("final_layer.norm_final", "final_layer/norm"),
  NameRule("final_layer.linear", "final_layer/linear"),
)


_LINEAR_LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
_COLUMN = LayoutTransform(lambda x: x[:, 0], lambda x: x[:, None])


def _weight_norm_rules() -> tuple[NameRule, ...]:
  """Returns rules for directions and magnitudes under weight normalization."""
  rules = []
  for name in _LINEAR_LAYERS:
    kernel = name.replace(".", "/") + "/kernel"
    official = f"deq_blocks.{{}}.{name}.weight"
    path = f"equilibrium_blocks_{{}}/{kernel}"
    rules.append(NameRule(f"{official}_v", path, LINEAR))
    path = f"weight_norms_{{}}/magnitude:{kernel}"
    rules.append(NameRule(f"{official}_g", path, _COLUMN))
  return tuple(rules)


def _get_rules(model: GET) -> tuple[NameRule, ...]:
  return (
    *(_weight_norm_rules() if model.weight_norm else ()),
    *embedding_rules(model),
    *block_rules("blocks.{}", "blocks_{}"),
    NameRule("qkv_inj", "qkv_injection"),
    *block_rules("deq_blocks.{}", "equilibrium_blocks_{}"),
    *_FINAL_RULES,
  )


def _infer_get_fields(shapes: Shapes, model: GET) -> dict[str, Any]:
  if _SIGNATURE not in shapes:
    return {}
  fields = infer_embedding_fields(shapes, model)
  fields["injection_depth"] = count_modules(shapes, "blocks")
  fields["equilibrium_depth"] = count_modules(shapes, "deq_blocks")
  if (mlp_ratio := infer_mlp_ratio(shapes, "deq_blocks.0")) is not None:
    fields["equilibrium_mlp_ratio"] = mlp_ratio
  return fields


def _vit_rules(model: ViT) -> tuple[NameRule, ...]:
  return (
    *embedding_rules(model),
    *block_rules("blocks.{}", "blocks_{}"),
    # No official code has these modules; the names follow the official style.
    NameRule("blocks.{}.adaLN_modulation.1", "blocks_{}/adaln"),
    NameRule("final_layer.adaLN_modulation.1", "final_layer/adaln"),
    *_FINAL_RULES,
  )


def _infer_vit_fields(shapes: Shapes, model: ViT) -> dict[str, Any]:
  fields = infer_backbone_fields(shapes, model)
  adaptive = "blocks.0.adaLN_modulation.1.weight" in shapes
  if model.num_classes:
    fields["conditioning"] = "adaLN-Zero" if adaptive else "injection"
  return fields


def _fold_weight_norm(tensors: Tensors, model: GET) -> Tensors:
  """Replaces weight-normalized kernels by w = v g / |v|, row by row.

  Tensors are returned unchanged for a model with `weight_norm`, which has both
  parameters.
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
  "GET", _SIGNATURE, _get_rules, _infer_get_fields, _fold_weight_norm
)
VIT_FAMILY = Family("ViT", "", _vit_rules, _infer_vit_fields)
