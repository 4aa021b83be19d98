"""Official checkpoints of improved MeanFlow, written by Flax."""

from collections.abc import Iterator
from typing import Any

from get_jax.interop.families.family import (
  Family,
  Shapes,
  Tensors,
  infer_label_fields,
)
from get_jax.interop.families.mean_flow import patch_kernel
from get_jax.interop.name_mapping import (
  IDENTITY,
  LayoutTransform,
  NameRule,
)
from get_jax.models.imf import IMF

_SCALARS = {
  "h_embed": "h_embedder",
  "w_embed": "omega_embedder",
  "t_min_embed": "cfg_t_start_embedder",
  "t_max_embed": "cfg_t_end_embedder",
}
_TOKENS = {
  "class_tokens": "class_tokens",
  "w_tokens": "omega_tokens",
  "t_min_tokens": "t_min_tokens",
  "t_max_tokens": "t_max_tokens",
  "h_tokens": "time_tokens",
}
_STACKS = {
  "blocks_{}": "shared_blocks_{}",
  "u_blocks_{}": "u_heads_{}",
  "v_blocks_{}": "v_heads_{}",
}
_BLOCK = {
  "norm1/scale": "norm1/kernel",
  "norm2/scale": "norm2/kernel",
  "attn_gate": "attn_scale",
  "mlp_gate": "mlp_scale",
  "attn/query/kernel": "attn/q_proj/_flax_linear/kernel",
  "attn/key/kernel": "attn/k_proj/_flax_linear/kernel",
  "attn/value/kernel": "attn/v_proj/_flax_linear/kernel",
  "attn/proj/kernel": "attn/out_proj/_flax_linear/kernel",
  "attn/query_norm/scale": "attn/q_norm/kernel",
  "attn/key_norm/scale": "attn/k_norm/kernel",
  "mlp/gate/kernel": "mlp/w1/_flax_linear/kernel",
  "mlp/fc1/kernel": "mlp/w3/_flax_linear/kernel",
  "mlp/fc2/kernel": "mlp/w2/_flax_linear/kernel",
}
_PATCHES = "x_embedder/proj/kernel"
_LABELS = "y_embedder/embedding_table/_flax_embedding/embedding"


def _rules(model: IMF) -> Iterator[NameRule]:
  patches = patch_kernel(model.patch_size, model.in_channels)
  yield _rule(_PATCHES, "patch_embed/kernel", patches)
  yield _rule("x_embedder/proj/bias", "patch_embed/bias")
  yield _rule(_LABELS, "label_embed/table/embedding")
  for path, official in _SCALARS.items():
    for ours, layer in (("fc1", "layers_0"), ("fc2", "layers_2")):
      for leaf in ("kernel", "bias"):
        name = f"{official}/mlp/{layer}/_flax_linear/{leaf}"
        yield _rule(name, f"{path}/{ours}/{leaf}")
  for path, official in _TOKENS.items():
    yield _rule(official, path)
  for path, official in _STACKS.items():
    for ours, theirs in _BLOCK.items():
      yield _rule(f"{official}/{theirs}", f"{path}/{ours}")
  for head in "uv":
    yield _rule(f"{head}_final_layer/norm/kernel", f"{head}_final/norm/scale")
    for leaf in ("kernel", "bias"):
      name = f"{head}_final_layer/linear/_flax_linear/{leaf}"
      yield _rule(name, f"{head}_final/linear/{leaf}")


def _rule(
  official: str, path: str, transform: LayoutTransform = IDENTITY
) -> NameRule:
  return NameRule(f"net/{official}", path, transform)


def _canonicalize(tensors: Tensors, model: IMF) -> Tensors:
  """Drops the blocks of the head of v if the network has none."""
  if model.v_head:
    return tensors
  return {k: v for k, v in tensors.items() if not k.startswith("net/v_heads_")}


def _infer_fields(shapes: Shapes, model: IMF) -> dict[str, Any]:
  kernel = shapes.get(f"net/{_PATCHES}", ())
  if len(kernel) != 4:
    return {}
  hidden = shapes.get("net/shared_blocks_0/mlp/w1/_flax_linear/kernel")
  head_depth = _count(shapes, "net/u_heads_")
  fields: dict[str, Any] = {
    "patch_size": kernel[0],
    "in_channels": kernel[2],
    "hidden_size": kernel[3],
    "head_depth": head_depth,
    "depth": head_depth + _count(shapes, "net/shared_blocks_"),
    "v_head": _count(shapes, "net/v_heads_") > 0,
    **infer_label_fields(shapes.get(f"net/{_LABELS}"), model),
  }
  width = shapes.get("net/u_heads_0/attn/q_norm/kernel")
  if width:
    fields["num_heads"] = kernel[3] // width[0]
  if hidden and hidden[1] != int(kernel[3] * model.mlp_ratio):
    fields["mlp_ratio"] = hidden[1] / kernel[3]
  for field, tokens in (
    ("class_tokens", "class_tokens"),
    ("guidance_tokens", "omega_tokens"),
    ("interval_tokens", "t_min_tokens"),
    ("time_tokens", "time_tokens"),
  ):
    if f"net/{tokens}" in shapes:
      fields[field] = shapes[f"net/{tokens}"][0]
  return fields


def _count(shapes: Shapes, prefix: str) -> int:
  """Returns the number of blocks prefix0, prefix1, ... in a file."""
  names = (n.removeprefix(prefix) for n in shapes if n.startswith(prefix))
  return len({name.split("/")[0] for name in names})


FAMILY: Family[IMF] = Family(
  "iMF", "net/omega_tokens", _rules, _infer_fields, _canonicalize
)
