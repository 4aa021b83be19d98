"""Makes the missing shards of a directory, divided among processes."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from get_jax.progress import ProgressBar
from get_jax.storage.paths import StrPath
from get_jax.storage.shards import Layout, ShardWriter
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.training.processes import run_on_main
from get_jax.training.shard_assignment import assign_shards

# Maps the indices of a shard's records to arrays (n, ...) by name; the second
# argument is called with the number of records after each batch.
MakeShard = Callable[[range, Callable[[int], object]], Mapping[str, np.ndarray]]


def make_missing_shards(
  directory: StrPath,
  layout: Layout,
  make_shard: MakeShard,
  name: str,
  unit: str,
) -> int:
  """Makes the shards that a directory lacks.

  Every process makes its own part of the shards. A stopped job resumes at the
  first shard that is missing.

  Args:
    directory: directory of the shards.
    layout: content of the directory.
    make_shard: (indices, progress) -> arrays; see `MakeShard`.
    name: name of the records in messages and in the progress bar.
    unit: unit of the progress bar, such as "image".

  Returns:
    Number of records in the shards that were missing, over all processes.

  Raises:
    UsageError: the directory holds other content.
    Stopped: SIGTERM or SIGINT arrived; complete shards are kept.
  """
  process_index = jax.process_index()
  writer = ShardWriter(directory, layout, process_index)

  def num_records(shards: list[int]) -> int:
    return sum(len(layout.shard_range(shard)) for shard in shards)

  with writer:
    num_missing = run_on_main(lambda: num_records(writer.missing()))
    with (
      handle_stop_signals() as stop_requested,
      assign_shards(writer.missing) as shards,
      ProgressBar(desc=name, unit=unit, disable=process_index != 0) as bar,
    ):
      bar.reset(num_records(shards))
      for shard in shards:
        if stop_requested(f"{name}, shard {shard}"):
          raise Stopped(f"{name} before shard {shard}")
        writer.write(shard, make_shard(layout.shard_range(shard), bar.update))
  return num_missing
