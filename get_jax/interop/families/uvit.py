"""U-ViT's checkpoints: names of the official code (nnet_ema.pth and others)."""

from typing import Any

from get_jax.interop.families.family import (
  Family,
  Shapes,
  count,
  label_fields,
  size_fields,
)
from get_jax.interop.families.transformer import block_rules
from get_jax.interop.names import TABLE, Rule, patch_convolution
from get_jax.models.uvit import UViT


def _rules(model: UViT) -> tuple[Rule, ...]:
  return (
    Rule(
      "patch_embed.proj", "patch_embed", patch_convolution(model.patch_size)
    ),
    Rule("pos_embed", "pos_embed", TABLE),
    Rule("label_emb", "label_embed/table"),
    Rule("context_embed", "context_embed"),
    Rule("time_embed.0", "time_embed/fc1"),
    Rule("time_embed.2", "time_embed/fc2"),
    *block_rules("in_blocks.{}", "in_blocks_{}"),
    *block_rules("mid_block", "mid_block"),
    *block_rules("out_blocks.{}", "out_blocks_{}"),
    Rule("out_blocks.{}.skip_linear", "out_blocks_{}/skip_linear"),
    Rule("norm", "norm"),
    Rule("decoder_pred", "decoder"),
    Rule("final_layer", "conv"),
  )


def _fields(shapes: Shapes, model: UViT) -> dict[str, Any]:
  patches = shapes.get("patch_embed.proj.weight", ())
  if len(patches) != 4:
    return {}
  width, channels, patch, _ = patches
  labels = shapes.get("label_emb.weight")
  fields = {
    "hidden_size": width,
    "in_channels": channels,
    "patch_size": patch,
    "depth": 2 * count(shapes, "in_blocks"),
    "conv": "final_layer.weight" in shapes,
    "mlp_time_embed": "time_embed.0.weight" in shapes,
    "qkv_bias": "mid_block.attn.qkv.bias" in shapes,
    **label_fields(labels and labels[0], model),
  }
  if hidden := shapes.get("mid_block.mlp.fc1.weight"):
    fields["mlp_ratio"] = hidden[0] / hidden[1]
  if "out_blocks.0.skip_linear.weight" in shapes:
    fields["skip"] = "concat"
  elif model.skip == "concat":
    fields["skip"] = "none"
  texts = 0
  if context := shapes.get("context_embed.weight"):
    fields["context_features"] = context[1]
    texts = model.context_tokens
  if positions := shapes.get("pos_embed"):
    tokens = positions[1] - 1 - (labels is not None) - texts
    fields |= size_fields(tokens, patch, model)
  return fields


FAMILY = Family(
  name="U-ViT",
  telltale="mid_block.attn.qkv.weight",
  rules=_rules,
  fields=_fields,
)
