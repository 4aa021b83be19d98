"""DiT checkpoints with the names of diffusers' DiTTransformer2DModel.

The weights are those of the official model, but the diffusers model differs
from it: its timestep sinusoid has other frequencies. Both namings are imported
into the official model.
"""

import re

import numpy as np

from get_jax.errors import UsageError
from get_jax.interop.families.family import Tensors
from get_jax.models.dit import DiT
from get_jax.nn.patches import patch_grid
from get_jax.nn.position_embedding import sincos_2d

_SIGNATURE = "proj_out_2.weight"
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


def canonicalize(tensors: Tensors, model: DiT) -> Tensors:
  """Converts diffusers' tensors to the official names.

  diffusers stores the time and label embeddings once per block, stores queries,
  keys and values separately, and does not store the fixed position table.

  Args:
    tensors: tensors by name. They are returned unchanged if the names are not
      those of diffusers.
    model: the model of the config.

  Raises:
    UsageError: the copies of an embedding differ between blocks.
  """
  if _SIGNATURE not in tensors:
    return tensors
  out: Tensors = {}
  qkv_parts: dict[str, dict[str, np.ndarray]] = {}
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
          f"the checkpoint has several different {key}: {name} differs from "
          "the first block's, but DiT has one for all blocks"
        )
    elif part in ("attn1.to_q", "attn1.to_k", "attn1.to_v"):
      key = f"blocks.{number}.attn.qkv.{leaf}"
      qkv_parts.setdefault(key, {})[part[-1]] = tensor
    else:
      out[f"blocks.{number}.{_BLOCK.get(part, part)}.{leaf}"] = tensor
  for key, parts in qkv_parts.items():
    if len(parts) == 3 and len({part.shape for part in parts.values()}) == 1:
      out[key] = np.concatenate([parts[p] for p in "qkv"])
  width = model.hidden_size
  grid = patch_grid(model.input_size, model.patch_size)
  out.setdefault("pos_embed", sincos_2d(grid, width)[None])
  return out
