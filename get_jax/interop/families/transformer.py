"""Names that the transformers of these papers share."""

from typing import Any

import flax.linen as nn

from get_jax.interop.families.family import (
  Shapes,
  count,
  label_fields,
  size_fields,
)
from get_jax.interop.names import TABLE, Rule, patch_convolution


def block_rules(official: str, ours: str) -> tuple[Rule, ...]:
  """Attention, perceptron and norms of the blocks under two prefixes."""
  modules = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2")
  return tuple(
    Rule(f"{official}.{m}", f"{ours}/{m.replace('.', '/')}") for m in modules
  )


def embedding_rules(model: nn.Module) -> tuple[Rule, ...]:
  """Patches, positions and labels as DiT, GET and DiffiT name them."""
  kernel = patch_convolution(model.patch_size)
  return (
    Rule("x_embedder.proj", "patch_embed", kernel),
    Rule("pos_embed", "positions/pos_table", TABLE),
    Rule("y_embedder.embedding_table", "label_embed/table"),
  )


TIME_RULES = (
  Rule("t_embedder.mlp.0", "time_embed/fc1"),
  Rule("t_embedder.mlp.2", "time_embed/fc2"),
)


def embedding_fields(shapes: Shapes, model: nn.Module) -> dict[str, Any]:
  """Fields told by patches, positions, labels and the last linear layer."""
  patches = shapes.get("x_embedder.proj.weight")
  if patches is None or len(patches) != 4:
    return {}
  width, channels, patch, _ = patches
  table = shapes.get("y_embedder.embedding_table.weight")
  fields = {
    "hidden_size": width,
    "in_channels": channels,
    "patch_size": patch,
    **label_fields(table and table[0], model),
  }
  if positions := shapes.get("pos_embed"):
    fields |= size_fields(positions[1], patch, model)
  last = shapes.get("final_layer.linear.weight")
  if last and hasattr(model, "learn_sigma"):
    fields["learn_sigma"] = last[0] == 2 * channels * patch**2
  return fields


def block_fields(shapes: Shapes, model: nn.Module) -> dict[str, Any]:
  """Fields told by the blocks: how many, and how wide their perceptrons."""
  fields = {"depth": count(shapes, "blocks")}
  if hidden := shapes.get("blocks.0.mlp.fc1.weight"):
    fields["mlp_ratio"] = hidden[0] / hidden[1]
  return fields
