"""Decoder: maps latents to images with an autoencoder."""

import dataclasses

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from get_jax.autoencoder import AutoencoderKL, decode_in_parts
from get_jax.training.sharding import BATCH_SPEC


@dataclasses.dataclass(frozen=True)
class Decoder:
  """Maps scaled latents to images.

  Attributes:
    model: the autoencoder.
    params: parameters of the autoencoder's decoder.
    batch_size: number of latents that a device decodes at once.
    name: name of the weights' folder or file, with their digest.
  """

  model: AutoencoderKL
  params: dict
  batch_size: int
  name: str

  @property
  def settings(self) -> dict:
    """Everything that determines the images, except the latents."""
    return {
      "name": self.name,
      "scaling_factor": self.model.scaling_factor,
      "shift_factor": self.model.shift_factor,
      "dtype": str(self.model.dtype or "float32"),
    }

  def __call__(
    self, params: dict, z: Float[Array, "B h w C"], mesh: Mesh
  ) -> Float[Array, "B H W 3"]:
    """Returns the images of latents; to be called inside `jax.jit`.

    Every device decodes its own shard of the batch, `batch_size` latents at a
    time.

    Args:
      params: `self.params`, passed as an argument so that the compiled program
        does not contain them as a constant.
      z: scaled latents (B, h, w, C), sharded over the mesh like any batch.
      mesh: the mesh.

    Returns:
      Images (B, H, W, 3), not clipped.
    """

    def decode(params, z):
      size = min(self.batch_size, len(z))
      return decode_in_parts(self.model, params, z, size)

    return jax.shard_map(
      decode,
      mesh=mesh,
      in_specs=(PartitionSpec(), BATCH_SPEC),
      out_specs=BATCH_SPEC,
    )(params, z)
