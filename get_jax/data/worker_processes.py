"""Batches that worker processes read, through Grain.

Workers pass arrays on in shared memory. It has a name until the array is
deleted, by a thread that the end of the program does not wait for; what is left
then would be reported as leaked. Here the names are removed as soon as a batch
arrives: the memory is freed with the array, however the program ends.
"""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

from get_jax.errors import UsageError

# Grain's error has no type of its own.
_ENDED = "Worker process was terminated unexpectedly with exit code "


def read_in_workers(
  dataset: grain.IterDataset, workers: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the batches of a data set that worker processes read ahead.

  Args:
    dataset: the batches.
    workers: number of processes.

  Raises:
    UsageError: a worker was killed.
  """
  # Grain passes absl's flags on to its workers; scripts may not have parsed
  # them.
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  options = grain.MultiprocessingOptions(
    num_workers=workers, per_worker_buffer_size=4
  )
  batches: Any = iter(dataset.mp_prefetch(options))
  try:
    for batch in batches:
      for array in batch.values():
        _release_name(array)
      yield batch
  except RuntimeError as error:
    code = str(error).partition(_ENDED)[2].partition(".")[0]
    if not code:
      raise
    raise UsageError(
      f"a process that reads data has ended with exit code {code} (-9: it was "
      "killed, often because memory was full); expected fewer or smaller ones "
      f"than loader.workers={workers}, loader.threads and batch_size make"
    ) from error
  finally:
    batches.close()


def _release_name(array: np.ndarray) -> None:
  """Removes the name of an array's shared memory, if it is in any."""
  memory = getattr(array, "shm", None)
  if memory is not None and getattr(array, "_unlink_on_del", False):
    memory.unlink()
    array._unlink_on_del = False  # type: ignore[attr-defined]
