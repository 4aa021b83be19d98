"""Official checkpoints of latent DiffiT.

The names are those of DiT; time-dependent self-attention (TMSA) adds its own.
"""

from typing import Any

import numpy as np

from get_jax.interop.families.family import Family, Shapes, Tensors
from get_jax.interop.families.transformer import (
  denoiser_rules,
  infer_backbone_fields,
)
from get_jax.interop.name_mapping import NameRule
from get_jax.models.diffit import DiffiT
from get_jax.models.dit import DiT
from get_jax.nn.patches import patch_grid
from get_jax.nn.tmsa import relative_position_index

_BIAS_TABLE = "attn.relative_position_bias_table"

TMSA_RULES = (
  NameRule("blocks.{}.attn.qkv_temb", "blocks_{}/attn/time_qkv"),
  NameRule(f"blocks.{{}}.{_BIAS_TABLE}", "blocks_{}/attn/position_bias"),
  # The ablations were not released; their names follow the official style.
  NameRule("blocks.{}.attn.v_temb", "blocks_{}/attn/time_v"),
  NameRule("blocks.{}.attn.bias_temb", "blocks_{}/attn/time_bias"),
  NameRule("blocks.{}.mlp.fc1_temb", "blocks_{}/time_mlp"),
)


def _rules(model: DiffiT) -> tuple[NameRule, ...]:
  return *denoiser_rules(model), *TMSA_RULES


def _infer_fields(shapes: Shapes, model: DiffiT) -> dict[str, Any]:
  fields = infer_backbone_fields(shapes, model)
  if table := shapes.get(f"blocks.0.{_BIAS_TABLE}"):
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


def constants(model: DiffiT | DiT) -> Tensors:
  """Returns the relative position indices that official files hold per block.

  Each is an int64 array (N, N) of rows of the bias table.

  Args:
    model: a DiffiT, or a DiT with TMSA blocks.
  """
  grid = patch_grid(model.input_size, model.patch_size)
  index = relative_position_index(grid).astype(np.int64)
  return {
    f"blocks.{i}.attn.relative_position_index": index
    for i in range(model.depth)
  }


FAMILY = Family(
  name="DiffiT",
  signature=f"blocks.0.{_BIAS_TABLE}",
  rules=_rules,
  infer_fields=_infer_fields,
  constants=constants,
)
