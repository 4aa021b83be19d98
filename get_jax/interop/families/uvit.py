"""Official checkpoints of U-ViT (`nnet_ema.pth` and the released files)."""

from typing import Any

from get_jax.interop.families import family
from get_jax.interop.families.family import Family, Shapes
from get_jax.interop.families.transformer import block_rules
from get_jax.interop.name_mapping import (
  POSITION_TABLE,
  NameRule,
  patch_convolution,
)
from get_jax.models.uvit import UViT


def _rules(model: UViT) -> tuple[NameRule, ...]:
  kernel = patch_convolution(model.patch_size)
  return (
    NameRule("patch_embed.proj", "patch_embed", kernel),
    NameRule("pos_embed", "pos_embed", POSITION_TABLE),
    NameRule("label_emb", "label_embed/table"),
    NameRule("context_embed", "context_embed"),
    NameRule("time_embed.0", "time_embed/fc1"),
    NameRule("time_embed.2", "time_embed/fc2"),
    *block_rules("in_blocks.{}", "in_blocks_{}"),
    *block_rules("mid_block", "mid_block"),
    *block_rules("out_blocks.{}", "out_blocks_{}"),
    NameRule("out_blocks.{}.skip_linear", "out_blocks_{}/skip_linear"),
    NameRule("norm", "norm"),
    NameRule("decoder_pred", "decoder"),
    NameRule("final_layer", "conv"),
  )


def _infer_fields(shapes: Shapes, model: UViT) -> dict[str, Any]:
  patch_fields = family.infer_patch_fields(shapes, "patch_embed.proj.weight")
  if not patch_fields:
    return {}
  label_table = shapes.get("label_emb.weight")
  fields: dict[str, Any] = {
    **patch_fields,
    "depth": 2 * family.count_modules(shapes, "in_blocks"),
    "conv": "final_layer.weight" in shapes,
    "mlp_time_embed": "time_embed.0.weight" in shapes,
    "qkv_bias": "mid_block.attn.qkv.bias" in shapes,
    **family.infer_label_fields(label_table, model),
  }
  if (mlp_ratio := family.infer_mlp_ratio(shapes, "mid_block")) is not None:
    fields["mlp_ratio"] = mlp_ratio
  if "out_blocks.0.skip_linear.weight" in shapes:
    fields["skip"] = "concat"
  elif model.skip == "concat":
    fields["skip"] = "none"
  context_tokens = 0
  if context := shapes.get("context_embed.weight"):
    fields["context_features"] = context[1]
    context_tokens = model.context_tokens
  if positions := shapes.get("pos_embed"):
    # The other tokens are those of time, label and text.
    patches = positions[1] - 1 - (label_table is not None) - context_tokens
    fields |= family.infer_size_fields(
      patches, patch_fields["patch_size"], model
    )
  return fields


FAMILY = Family(
  name="U-ViT",
  signature="mid_block.attn.qkv.weight",
  rules=_rules,
  infer_fields=_infer_fields,
)
