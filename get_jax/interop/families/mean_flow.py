"""Official checkpoints of MeanFlow, written by Flax."""

from collections.abc import Iterator
from typing import Any

from get_jax.interop.families.family import (
  Family,
  Shapes,
  Tensors,
  infer_label_fields,
)
from get_jax.interop.name_mapping import (
  IDENTITY,
  LayoutTransform,
  NameRule,
)
from get_jax.models.mean_flow_dit import MeanFlowDiT
from get_jax.nn.patches import patch_grid
from get_jax.nn.position_embedding import sincos_2d

_LAYERS = {
  "time_embed/fc1": "t_embedder/mlp/layers_0/_flax_linear",
  "time_embed/fc2": "t_embedder/mlp/layers_2/_flax_linear",
  "h_embed/fc1": "h_embedder/mlp/layers_0/_flax_linear",
  "h_embed/fc2": "h_embedder/mlp/layers_2/_flax_linear",
  "final_layer/adaln": "final_layer/adaLN_modulation/layers_1/_flax_linear",
  "final_layer/linear": "final_layer/linear/_flax_linear",
  **{
    f"blocks_{{}}/{ours}": f"blocks/layers_{{}}/{theirs}/_flax_linear"
    for ours, theirs in {
      "adaln": "adaLN_modulation/layers_1",
      "attn/qkv": "attn/qkv",
      "attn/proj": "attn/proj",
      "mlp/fc1": "mlp/fc1",
      "mlp/fc2": "mlp/fc2",
    }.items()
  },
}
_PATCHES = "net/x_embedder/proj/kernel"
_LABELS = "net/y_embedder/embedding_table/_flax_embedding/embedding"
# The official code computes the table; the name is ours.
_POSITIONS = "net/pos_embed"


def patch_kernel(patch_size: int, channels: int) -> LayoutTransform:
  """Returns the transform of Flax's patch embedding, (P, P, C, D).

  Args:
    patch_size: P, side of a patch.
    channels: C, channels of the input.
  """
  return LayoutTransform(
    lambda x: x.reshape(-1, x.shape[-1]),
    lambda x: x.reshape(patch_size, patch_size, channels, -1),
  )


def _rules(model: MeanFlowDiT) -> Iterator[NameRule]:
  patches = patch_kernel(model.patch_size, model.in_channels)
  yield NameRule(_PATCHES, "patch_embed/kernel", patches)
  yield NameRule("net/x_embedder/proj/bias", "patch_embed/bias", IDENTITY)
  yield NameRule(_LABELS, "label_embed/table/embedding", IDENTITY)
  yield NameRule(_POSITIONS, "positions/pos_table", IDENTITY)
  for path, official in _LAYERS.items():
    for leaf in ("kernel", "bias"):
      yield NameRule(f"net/{official}/{leaf}", f"{path}/{leaf}", IDENTITY)


def _canonicalize(tensors: Tensors, model: MeanFlowDiT) -> Tensors:
  """Adds the position table, which the files do not have."""
  grid = patch_grid(model.input_size, model.patch_size)
  return {_POSITIONS: sincos_2d(grid, model.hidden_size)} | tensors


def _infer_fields(shapes: Shapes, model: MeanFlowDiT) -> dict[str, Any]:
  kernel = shapes.get(_PATCHES, ())
  if len(kernel) != 4:
    return {}
  prefix = "net/blocks/layers_"
  blocks = {n[len(prefix) :].split("/")[0] for n in shapes if prefix in n}
  return {
    "patch_size": kernel[0],
    "in_channels": kernel[2],
    "hidden_size": kernel[3],
    "depth": len(blocks),
    **infer_label_fields(shapes.get(_LABELS), model),
  }


FAMILY: Family[MeanFlowDiT] = Family(
  "MF",
  "net/h_embedder/mlp/layers_0/_flax_linear/kernel",
  _rules,
  _infer_fields,
  _canonicalize,
)
