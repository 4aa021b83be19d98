"""DiT's weights under the names of diffusers' DiTTransformer2DModel.

The weights are those of the official model. The diffusers model is not: its
time sinusoid has other frequencies. Ours is the official one under either
naming.
"""

import re

import numpy as np

from get_jax.errors import UsageError
from get_jax.interop.families.family import Tensors
from get_jax.models.dit import DiT
from get_jax.nn.patches import patch_grid
from get_jax.nn.position_embedding import sincos_2d

_TELLTALE = "proj_out_2.weight"
_TOP = {
  "pos_embed.proj": "x_embedder.proj",
  "proj_out_1": "final_layer.adaLN_modulation.1",
  "proj_out_2": "final_layer.linear",
}
_BLOCK = {
  "norm1.linear": "adaLN_modulation.1",
  "attn1.to_out.0": "attn.proj",
  "ff.net.0.proj": "mlp.fc1",
  "ff.net.2": "mlp.fc2",
}
_EMBEDDING = {
  "timestep_embedder.linear_1": "t_embedder.mlp.0",
  "timestep_embedder.linear_2": "t_embedder.mlp.2",
  "class_embedder.embedding_table": "y_embedder.embedding_table",
}


def translate(tensors: Tensors, model: DiT) -> Tensors:
  """Renames diffusers' tensors; others pass as they are.

  Time and label embeddings are stored once per block there, queries, keys and
  values apart, and the fixed position table not at all.

  Raises:
    UsageError: the blocks' copies of an embedding differ.
  """
  if _TELLTALE not in tensors:
    return tensors
  out: Tensors = {}
  thirds: dict[str, dict[str, np.ndarray]] = {}
  for name, tensor in tensors.items():
    module, _, leaf = name.rpartition(".")
    block = re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", module)
    if block is None:
      out[f"{_TOP.get(module, module)}.{leaf}"] = tensor
      continue
    number, part = block.groups()
    embedding = _EMBEDDING.get(part.removeprefix("norm1.emb."))
    if embedding is not None:
      key = f"{embedding}.{leaf}"
      if not np.array_equal(out.setdefault(key, tensor), tensor):
        raise UsageError(
          f"the checkpoint has several different {key}: {name} is not the same "
          "as in the first block, which DiT cannot represent"
        )
    elif part in ("attn1.to_q", "attn1.to_k", "attn1.to_v"):
      key = f"blocks.{number}.attn.qkv.{leaf}"
      thirds.setdefault(key, {})[part[-1]] = tensor
    else:
      out[f"blocks.{number}.{_BLOCK.get(part, part)}.{leaf}"] = tensor
  for key, parts in thirds.items():
    if len(parts) == 3 and len({part.shape for part in parts.values()}) == 1:
      out[key] = np.concatenate([parts[p] for p in "qkv"])
  width = model.hidden_size
  grid = patch_grid(model.input_size, model.patch_size)
  out.setdefault("pos_embed", sincos_2d(grid, width)[None])
  return out
