"""ImageSampler: generates samples by index, in batches over a mesh."""

import copy
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from get_jax.errors import UsageError
from get_jax.generation.generator import Generator
from get_jax.progress import ProgressBar
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.training.sharding import BATCH_SPEC, check_batch_size

Samples = tuple[Float[np.ndarray, "n H W C"], Int[np.ndarray, " n"] | None]


class ImageSampler:
  """Generates samples by index, in batches over a mesh.

  Sample i depends only on (key, i) and on its conditioning, not on the batch
  size or the mesh.

  Args:
    generator: the generator.
    key: the key of the samples' noise.
    batch_size: samples in a batch, over all devices of the mesh.
    mesh: the device mesh.

  Raises:
    UsageError: the batch size is not divisible by the shards of the mesh.
  """

  def __init__(
    self,
    generator: Generator,
    key: jax.Array,
    batch_size: int,
    mesh: Mesh,
  ):
    check_batch_size(batch_size, mesh, "sampling.batch_size")
    self.generator, self.mesh = generator, mesh
    self.batch_size = batch_size
    self._replicated = NamedSharding(mesh, PartitionSpec())
    self._batch_sharding = NamedSharding(mesh, BATCH_SPEC)
    self._key = key
    decoder = generator.decoder
    self._decoder_params = decoder and jax.device_put(
      decoder.params, self._replicated
    )
    self._sample_fn = generator.compiled(mesh)

  def with_key(self, key: jax.Array) -> "ImageSampler":
    """Returns a copy for another key of the noise."""
    other = copy.copy(self)
    other._key = key
    return other

  def replicate_params(self, params: dict) -> dict:
    """Returns the parameters, replicated on every device of the mesh."""
    return jax.device_put(params, self._replicated)

  def sample_batch(
    self,
    params: dict,
    indices: Int[np.ndarray, " n"],
    ids: Int[np.ndarray, " n"] | None = None,
  ) -> Samples:
    """Generates one batch of samples.

    Args:
      params: parameters of the generator, from `replicate_params`.
      indices: sample indices (n,), n <= batch_size.
      ids: condition IDs (n,), see `Conditioning`; None uses the conditioning's
        own ID of each sample.

    Returns:
      Images (n, H, W, C) float32 and their condition IDs (n,) int32, or None if
      unconditional, both on the host.

    Raises:
      UsageError: an index does not fit in 32 bits.
    """
    count, conditioning = len(indices), self.generator.conditioning
    if count and int(np.max(indices)) >= 2**32:
      raise UsageError(
        f"sample {np.max(indices)} does not exist; expected indices below "
        f"{2**32}"
      )
    # The last sample fills up an incomplete batch.
    rows = np.minimum(np.arange(self.batch_size), count - 1)
    indices = np.asarray(indices, np.uint32)[rows]
    if ids is None:
      ids = conditioning.sample_ids(self._key, indices)
    else:
      ids = np.asarray(ids)[rows]
    arguments = jax.device_put(
      (indices, conditioning.model_inputs(ids)), self._batch_sharding
    )
    with jax.set_mesh(self.mesh):
      output = self._sample_fn(
        params, self._decoder_params, self._key, *arguments
      )
    images = np.asarray(output)[:count]
    return images, None if ids is None else ids[:count]

  def sample_shards(
    self,
    params: dict,
    shards: Sequence[Int[np.ndarray, " n"]],
    ids: np.ndarray | None = None,
    description: str = "sampling",
  ) -> Iterator[Samples]:
    """Generates the samples of each shard, with one progress bar for all.

    Args:
      params: parameters of the generator.
      shards: sample indices (n,) of each shard.
      ids: condition IDs of the samples of all shards, concatenated; None uses
        the conditioning's own ID of each sample.
      description: label of the progress bar.

    Yields:
      Images and condition IDs of each shard, as `sample_batch` returns them.

    Raises:
      Stopped: SIGTERM or SIGINT was received.
    """
    params = self.replicate_params(params)
    total, done = sum(map(len, shards)), 0
    with (
      handle_stop_signals() as stop_requested,
      ProgressBar(
        total=total,
        desc=description,
        unit="image",
        disable=jax.process_index() != 0,
      ) as bar,
    ):
      for shard in shards:
        batches = []
        for start in range(0, len(shard), self.batch_size):
          if stop_requested(f"{description}, image {done} of {total}"):
            raise Stopped(f"{description} after {done} of {total}")
          indices = shard[start : start + self.batch_size]
          batch_ids = None if ids is None else ids[done : done + len(indices)]
          batches.append(self.sample_batch(params, indices, batch_ids))
          done += len(indices)
          bar.update(len(indices))
        yield _concatenate(batches)

  def sample(
    self,
    params: dict,
    indices: Int[np.ndarray, " n"],
    ids: Int[np.ndarray, " n"] | None = None,
    description: str = "sampling",
  ) -> Samples:
    """Generates the samples `indices`; `sample_shards` with a single shard."""
    (samples,) = self.sample_shards(
      params, [np.asarray(indices)], ids, description
    )
    return samples


def _concatenate(batches: Sequence[Samples]) -> Samples:
  """Returns the batches as one, without a copy of a single batch."""
  if len(batches) == 1:
    return batches[0]
  images, ids = zip(*batches, strict=True)
  return np.concatenate(images), (
    None if ids[0] is None else np.concatenate(ids)
  )
