"""batch(step): the records of a training step, a pure function of the step.

Position p of the endless training order is record `permutation(seed,
p // n)[p % n]`: each epoch is shuffled anew, without repetition or omission.
Step s takes the positions s*B ... (s+1)*B - 1 and each host some rows of them,
so nothing needs saving to resume, on any number of hosts.
"""

import functools
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from get_jax.data.draws import draws
from get_jax.data.sources import Source


class Pipeline:
  """Shuffled batches of a source, addressed by step.

  Attributes:
    source: where the records come from.
    batch_size: records per step over all hosts.
    seed: seed of the epochs' permutations.
    rows: of a batch, those that this host reads (n,); None: all.
    threads: batches that are read at the same time.
    workers: processes that read, for data that is slow to decode; 0 reads in
      this one.
  """

  def __init__(
    self,
    source: Source,
    batch_size: int,
    seed: int,
    rows: np.ndarray | None = None,
    threads: int = 4,
    workers: int = 0,
  ):
    self.source, self.batch_size, self.seed = source, batch_size, seed
    self.threads, self.workers = threads, workers
    self._rows = slice(None) if rows is None else rows

  @functools.lru_cache(maxsize=2)  # noqa: B019 - a pipeline lives as long as its run
  def _permutation(self, epoch: int) -> np.ndarray:
    # RandomState: its stream is frozen for all numpy versions.
    rng = np.random.RandomState([self.seed % 2**32, epoch])
    return rng.permutation(len(self.source))

  def indices(self, step: int) -> np.ndarray:
    """Record indices of a step for all hosts, shape (batch_size,)."""
    positions = step * self.batch_size + np.arange(self.batch_size)
    epochs, offsets = np.divmod(positions, len(self.source))
    chosen = np.empty(self.batch_size, np.int64)
    for epoch in np.unique(epochs):
      here = epochs == epoch
      chosen[here] = self._permutation(int(epoch))[offsets[here]]
    return chosen

  def batch(self, step: int) -> dict[str, np.ndarray]:
    """This host's records of a step."""
    chosen = self.indices(step)[self._rows]
    positions = step * self.batch_size + np.arange(self.batch_size)
    words = draws(self.seed, positions[self._rows])
    return self.source.read(chosen, words)

  def batches(self, start: int, stop: int) -> Iterator[dict[str, np.ndarray]]:
    """`batch(start) ... batch(stop - 1)`, read ahead by threads or workers."""
    steps = grain.MapDataset.range(start, stop).map(self.batch)
    ahead = grain.ReadOptions(
      num_threads=self.threads, prefetch_buffer_size=2 * self.threads
    )
    dataset = steps.to_iter_dataset(ahead)
    if self.workers:
      # Grain's workers pass absl's flags on, which scripts may not have read.
      if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
      options = grain.MultiprocessingOptions(
        num_workers=self.workers, per_worker_buffer_size=4
      )
      dataset = dataset.mp_prefetch(options)
    return iter(dataset)
