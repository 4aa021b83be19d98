"""Layers that two or more networks share."""

__all__ = [
  "adaln",
  "attention",
  "attention_kernels",
  "attention_maps",
  "block_stack",
  "edm_layers",
  "equilibrium",
  "label_embedding",
  "linear",
  "mlp",
  "noise_embedding",
  "normalization",
  "patches",
  "position_embedding",
  "sharding",
  "timestep_embedding",
  "tmsa",
  "transformer_block",
  "unet_block",
  "windows",
]
