"""Assigns the shards of a directory to processes."""

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
  """Yields the shards that this process makes; exits when all shards exist.

  Every process must enter the context.

  Args:
    missing: returns the numbers of the shards that do not exist yet.

  Raises:
    Stopped: SIGTERM or SIGINT stopped one of the processes.
    UsageError: a process does not see the shards of the others, or its own.
  """
  assigned = run_on_main(missing)[jax.process_index() :: jax.process_count()]
  with independent_progress():
    yield assigned
  # No process continues before all have seen the shards, because the next
  # step of one process may delete them.
  complete = allgather(
    "yes" if wait_until_visible(lambda: not missing()) else ""
  )
  if complete == [""]:
    raise UsageError(
      "shards that were written cannot be read again; expected a disk without "
      "faults"
    )
  if "" in complete:
    raise UsageError(
      f"process {complete.index('')} does not see all shards that other "
      "processes have made; expected one folder shared by all processes"
    )
