"""How processes divide the shards of a directory among them."""

import contextlib
from collections.abc import Callable, Iterator

import jax

from get_jax.errors import UsageError
from get_jax.training.preemption import independent_progress
from get_jax.training.processes import (
  allgather,
  run_on_main,
  wait_until_visible,
)


@contextlib.contextmanager
def assign_shards(missing: Callable[[], list[int]]) -> Iterator[list[int]]:
  """Yields the shards that this process is to make; left when all are there.

  Args:
    missing: the numbers of the shards that are not there yet.

  Raises:
    Stopped: a signal has stopped one of the processes.
  """
  mine = run_on_main(missing)[jax.process_index() :: jax.process_count()]
  with independent_progress():
    yield mine
  # All have seen them before one goes on, who may tidy them away.
  seen = allgather("yes" if wait_until_visible(lambda: not missing()) else "")
  if "" in seen:
    raise UsageError(
      f"process {seen.index('')} does not see all shards that others have "
      "made; expected one folder for all"
    )
