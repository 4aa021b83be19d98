"""Decoder: maps latents to images with an autoencoder."""

import dataclasses

import jax
from jax.sharding import Mesh, PartitionSpec

from get_jax.autoencoder import AutoencoderKL, decode_in_parts
from get_jax.training.sharding import BATCH


@dataclasses.dataclass(frozen=True)
class Decoder:
  """Scaled latents to images.

  Attributes:
    model: the autoencoder.
    params: of its decoding half.
    batch_size: latents that a device decodes at once.
    name: of the weights' folder or file, with their digest.
  """

  model: AutoencoderKL
  params: dict
  batch_size: int
  name: str

  @property
  def settings(self) -> dict:
    """Everything that decides the images but the latents."""
    return {
      "name": self.name,
      "scaling_factor": self.model.scaling_factor,
      "shift_factor": self.model.shift_factor,
      "dtype": str(self.model.dtype or "float32"),
    }

  def __call__(self, params: dict, z: jax.Array, mesh: Mesh) -> jax.Array:
    """Latents (B, h, w, C) to images (B, H, W, 3), not clipped; for jit.

    Every device decodes its own part of the batch, `batch_size` at a time.

    Args:
      params: `self.params`, as an argument of the program, not a constant.
      z: split over the mesh like any batch.
      mesh: the mesh.
    """

    def decode(params, z):
      part = min(self.batch_size, len(z))
      return decode_in_parts(self.model, params, z, part)

    return jax.shard_map(
      decode, mesh=mesh, in_specs=(PartitionSpec(), BATCH), out_specs=BATCH
    )(params, z)
