"""Tensor names shared by DiT, DiffiT, GET and ViT."""

from typing import Any

import flax.linen as nn

from get_jax.interop.families.family import (
  Shapes,
  count_modules,
  infer_label_fields,
  infer_mlp_ratio,
  infer_patch_fields,
  infer_size_fields,
)
from get_jax.interop.name_mapping import (
  POSITION_TABLE,
  NameRule,
  patch_convolution,
)


def block_rules(official: str, path: str) -> tuple[NameRule, ...]:
  """Returns rules for the attention, MLP and norms of transformer blocks.

  Args:
    official: official name of the blocks, such as "blocks.{}".
    path: path of the blocks in the parameter tree, such as "blocks_{}".
  """
  modules = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "norm1", "norm2")
  return tuple(
    NameRule(f"{official}.{m}", f"{path}/{m.replace('.', '/')}")
    for m in modules
  )


def embedding_rules(model: nn.Module) -> tuple[NameRule, ...]:
  """Returns rules for the patch, position and label embeddings.

  Args:
    model: the network, with `patch_size`.
  """
  kernel = patch_convolution(model.patch_size)
  return (
    NameRule("x_embedder.proj", "patch_embed", kernel),
    NameRule("pos_embed", "positions/pos_table", POSITION_TABLE),
    NameRule("y_embedder.embedding_table", "label_embed/table"),
  )


def denoiser_rules(model: nn.Module) -> tuple[NameRule, ...]:
  """Returns rules for the embeddings, the blocks and the last linear layer.

  Args:
    model: a DiT or DiffiT.
  """
  return (
    *embedding_rules(model),
    NameRule("t_embedder.mlp.0", "time_embed/fc1"),
    NameRule("t_embedder.mlp.2", "time_embed/fc2"),
    *block_rules("blocks.{}", "blocks_{}"),
    NameRule("final_layer.linear", "final_layer/linear"),
  )


def infer_embedding_fields(shapes: Shapes, model: nn.Module) -> dict[str, Any]:
  """Infers fields from the embeddings and the last linear layer.

  Args:
    shapes: shapes in the file, by official name.
    model: the model of the config.

  Returns:
    Field values, or nothing if the file has no patch embedding.
  """
  patch_fields = infer_patch_fields(shapes, "x_embedder.proj.weight")
  if not patch_fields:
    return {}
  patch_size = patch_fields["patch_size"]
  table = shapes.get("y_embedder.embedding_table.weight")
  fields = patch_fields | infer_label_fields(table, model)
  if positions := shapes.get("pos_embed"):
    fields |= infer_size_fields(positions[1], patch_size, model)
  last = shapes.get("final_layer.linear.weight")
  if last and hasattr(model, "learn_sigma"):
    patch_numbers = patch_fields["in_channels"] * patch_size**2
    fields["learn_sigma"] = last[0] == 2 * patch_numbers
  return fields


def infer_backbone_fields(shapes: Shapes, model: nn.Module) -> dict[str, Any]:
  """Infers fields from the embeddings and from the blocks.

  Args:
    shapes: shapes in the file, by official name.
    model: the model of the config.

  Returns:
    The fields of `infer_embedding_fields`, `depth` and, if the file has an MLP,
    `mlp_ratio`.
  """
  fields = infer_embedding_fields(shapes, model)
  fields["depth"] = count_modules(shapes, "blocks")
  if (mlp_ratio := infer_mlp_ratio(shapes, "blocks.0")) is not None:
    fields["mlp_ratio"] = mlp_ratio
  return fields
