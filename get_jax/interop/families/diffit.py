"""Latent DiffiT's checkpoints: DiT's names, and those of its attention."""

from typing import Any

import numpy as np

from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.families.transformer import (
  TIME_RULES,
  block_fields,
  block_rules,
  embedding_fields,
  embedding_rules,
)
from get_jax.interop.names import Rule
from get_jax.models.diffit import DiffiT
from get_jax.nn.patches import patch_grid
from get_jax.nn.tmsa import relative_position_index

_TABLE = "attn.relative_position_bias_table"

TMSA_RULES = (
  Rule("blocks.{}.attn.qkv_temb", "blocks_{}/attn/time_qkv"),
  Rule(f"blocks.{{}}.{_TABLE}", "blocks_{}/attn/position_bias"),
  # The ablations were not released: names in the same manner.
  Rule("blocks.{}.attn.v_temb", "blocks_{}/attn/time_v"),
  Rule("blocks.{}.attn.bias_temb", "blocks_{}/attn/time_bias"),
  Rule("blocks.{}.mlp.fc1_temb", "blocks_{}/time_mlp"),
)


def _rules(model: DiffiT) -> tuple[Rule, ...]:
  return (
    *embedding_rules(model),
    *TIME_RULES,
    *block_rules("blocks.{}", "blocks_{}"),
    *TMSA_RULES,
    Rule("final_layer.linear", "final_layer/linear"),
  )


def _fields(shapes: Shapes, model: DiffiT) -> dict[str, Any]:
  fields = embedding_fields(shapes, model) | block_fields(shapes, model)
  if table := shapes.get(f"blocks.0.{_TABLE}"):
    fields["num_heads"] = table[1]
  for time, name in {
    "mixed": "attn.qkv_temb",
    "separate": "attn.v_temb",
    "position-bias": "attn.bias_temb",
    "mlp": "mlp.fc1_temb",
  }.items():
    if f"blocks.0.{name}.weight" in shapes:
      fields["time"] = time
  return fields


def constants(model: DiffiT) -> Tensors:
  """The rows of the bias table, which the official code keeps per block."""
  grid = patch_grid(model.input_size, model.patch_size)
  index = relative_position_index(grid).astype(np.int64)
  return {
    f"blocks.{i}.attn.relative_position_index": index
    for i in range(model.depth)
  }


FAMILY = Family(
  name="DiffiT",
  telltale=f"blocks.0.{_TABLE}",
  rules=_rules,
  fields=_fields,
  constants=constants,
)
