"""Input pipeline: the batch of a training step is a pure function of the step.

Position p of the infinite training order is record `permutation(seed,
p // n)[p % n]`: each epoch is shuffled anew, without repetition or omission.
Step s uses the positions s*B ... (s+1)*B - 1, and each host reads some rows of
them. Nothing needs to be saved to resume, on any number of hosts.
"""

import functools
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import grain
import numpy as np
from numpy.typing import DTypeLike

from get_jax.data.random_bits import random_bits
from get_jax.data.sources import Source
from get_jax.data.worker_processes import read_in_workers


class Pipeline:
  """Shuffled batches of a source, addressed by step.

  Args:
    source: the data source.
    batch_size: records per step over all hosts.
    seed: seed of the permutations and of the records' random bits.
    rows: the rows of a batch that this host reads, (n,); None reads all.
    threads: number of threads that read batches ahead.
    workers: number of processes that read, for data that is slow to decode; 0
      reads in this process.
    dtypes: dtypes that arrays are converted to, by name.
  """

  def __init__(
    self,
    source: Source,
    batch_size: int,
    seed: int,
    rows: np.ndarray | None = None,
    threads: int = 4,
    workers: int = 0,
    dtypes: Mapping[str, DTypeLike] = MappingProxyType({}),
  ):
    self.source, self.batch_size, self.seed = source, batch_size, seed
    self.threads, self.workers = threads, workers
    self.dtypes = dict(dtypes)
    self._rows = slice(None) if rows is None else rows

  @functools.lru_cache(maxsize=2)  # noqa: B019 - a pipeline lives as long as its run
  def _permutation(self, epoch: int) -> np.ndarray:
    # RandomState: its stream is frozen for all numpy versions.
    high = [epoch >> 32] if epoch >> 32 else []
    rng = np.random.RandomState([self.seed % 2**32, epoch % 2**32, *high])
    return rng.permutation(len(self.source))

  def indices(self, step: int) -> np.ndarray:
    """Returns the record indices of a step for all hosts, (batch_size,)."""
    epochs, offsets = np.divmod(self._positions(step), len(self.source))
    indices = np.empty(self.batch_size, np.int64)
    for epoch in np.unique(epochs):
      in_epoch = epochs == epoch
      indices[in_epoch] = self._permutation(int(epoch))[offsets[in_epoch]]
    return indices

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """Returns this host's records of a step."""
    indices = self.indices(step)[self._rows]
    bits = random_bits(self.seed, self._positions(step)[self._rows])
    records = self.source.read(indices, bits)
    return {
      name: array.astype(self.dtypes.get(name, array.dtype), copy=False)
      for name, array in records.items()
    }

  def batches(self, start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields `batch(start) ... batch(stop - 1)`, read ahead.

    Raises:
      UsageError: a worker process was killed.
    """
    steps = grain.MapDataset.range(start, stop).map(self.batch)
    read_options = grain.ReadOptions(
      num_threads=self.threads, prefetch_buffer_size=2 * self.threads
    )
    dataset = steps.to_iter_dataset(read_options)
    if self.workers:
      return read_in_workers(dataset, self.workers)
    return iter(dataset)

  def _positions(self, step: int) -> np.ndarray:
    return step * self.batch_size + np.arange(self.batch_size)
