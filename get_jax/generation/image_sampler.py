"""ImageSampler: generates samples by index, in batches over a mesh."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from get_jax.generation.generator import Generator, sampling_function
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.training.sharding import BATCH, check_batch_size


class ImageSampler:
  """Draws samples by index, in batches over a mesh, compiled once.

  Sample i depends on (key, i) and its conditioning alone: neither on the batch
  size nor on the mesh.

  Raises:
    UsageError: the batch size does not fit the mesh.
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
    self._whole = NamedSharding(mesh, PartitionSpec())
    self._split = NamedSharding(mesh, BATCH)
    self._key = key
    decoder = generator.decoder
    self._decoder = decoder and jax.device_put(decoder.params, self._whole)
    make = sampling_function(generator, mesh)
    # Every process gets all images of a mesh that it shares with others.
    shared = mesh.size > len(mesh.local_devices)
    placed = self._whole if shared else self._split
    self._make = jax.jit(make, out_shardings=placed)

  def place(self, params: dict) -> dict:
    """The parameters on every device of the mesh, as `batch` takes them."""
    return jax.device_put(params, self._whole)

  def batch(
    self, params: dict, indices: np.ndarray, chosen: np.ndarray | None = None
  ):
    """Samples `indices` (n <= batch_size,) of given or own conditions.

    Args:
      params: parameters of the generator, placed.
      indices: of the samples.
      chosen: numbers (n,) of what they show, see `Conditioning`; None takes
        each one's own.

    Returns:
      Images (n, H, W, C) float32 and the numbers (n,) int32 of what they show,
      or None, on the host.
    """
    count, conditioning = len(indices), self.generator.conditioning
    # The last sample again, as often as the batch is short of some.
    rows = np.minimum(np.arange(self.batch_size), count - 1)
    indices = np.asarray(indices, np.uint32)[rows]
    if chosen is None:
      chosen = conditioning.choose(self._key, indices)
    else:
      chosen = np.asarray(chosen)[rows]
    arguments = jax.device_put(
      (indices, conditioning.inputs(chosen)), self._split
    )
    with jax.set_mesh(self.mesh):
      images = self._make(params, self._decoder, self._key, *arguments)
    images = np.asarray(images)[:count]
    return images, None if chosen is None else chosen[:count]

  def parts(
    self,
    params: dict,
    parts: Sequence[np.ndarray],
    chosen: np.ndarray | None = None,
    description: str = "sampling",
  ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Samples of each of `parts` in turn, with a progress bar over all.

    Args:
      params: parameters of the generator.
      parts: indices (n,) each.
      chosen: numbers of what the samples of all parts show; None takes each
        one's own.
      description: shown in the bar.

    Yields:
      As `batch` returns, for each part.

    Raises:
      Stopped: a signal came.
    """
    params = self.place(params)
    total, done = sum(map(len, parts)), 0
    with (
      handle_stop_signals() as stop_requested,
      tqdm(
        total=total,
        desc=description,
        unit="image",
        disable=jax.process_index() != 0,
      ) as bar,
    ):
      for part in parts:
        found = []
        for start in range(0, len(part), self.batch_size):
          if stop_requested(f"{description}, image {done} of {total}"):
            raise Stopped(f"{description} stopped after {done} of {total}")
          here = part[start : start + self.batch_size]
          these = None if chosen is None else chosen[done : done + len(here)]
          found.append(self.batch(params, here, these))
          done += len(here)
          bar.update(len(here))
        images, made = zip(*found, strict=True)
        yield (
          np.concatenate(images),
          None if made[0] is None else np.concatenate(made),
        )

  def all(self, params, indices, chosen=None, description="sampling"):
    """`parts` of one part."""
    ((images, made),) = self.parts(
      params, [np.asarray(indices)], chosen, description
    )
    return images, made
