"""Joins the processes of a run, and lets process 0 act for all of them.

JAX transfers the arrays. `ProcessGroup` exchanges a few bytes per second
through the key-value store of JAX's coordination service: heartbeats, stop
requests and the reasons why processes exit. If one process fails, hangs or is
stopped, the others exit within seconds and print the reason, instead of waiting
in a collective for hours.
"""

import atexit
import time
from collections.abc import Callable
from typing import Any

import jax

# JAX has no public access to its key-value store.
from jax._src import distributed

from get_jax.errors import UsageError
from get_jax.training.process_group import ProcessGroup

# Seconds within which files in a shared folder must become visible.
VISIBILITY_TIMEOUT = 60.0
# Seconds after which JAX ends the others, if the watchdog has not.
JAX_HEARTBEAT_TIMEOUT = 60

_process_group: ProcessGroup | None = None


def process_group() -> ProcessGroup | None:
  """Returns the process group of this run; None in a single-process run."""
  return _process_group


def initialize(
  coordinator: str, num_processes: int, process_id: int, stuck_after: float
) -> None:
  """Joins the processes of a run; JAX then sees the devices of all of them.

  Args:
    coordinator: "host:port" of process 0; the port must be free there.
    num_processes: number of processes.
    process_id: index of this process, from 0.
    stuck_after: seconds; see `ProcessGroup`.

  Raises:
    UsageError: the other processes cannot be reached.
  """
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      cluster_detection_method="deactivate",
      heartbeat_timeout_seconds=JAX_HEARTBEAT_TIMEOUT,
    )
  except RuntimeError as error:
    reason = " ".join(str(error).split())
    raise UsageError(
      f"process {process_id} cannot connect to the others at {coordinator} "
      f"({reason}); expected the address of process 0 and a free port there"
    ) from error
  _create_process_group(stuck_after)


def initialize_cluster(
  local_devices: list[int] | None, stuck_after: float
) -> None:
  """Joins the processes of the cluster that JAX detects, if it detects one.

  Args:
    local_devices: indices of the devices of this process; None: JAX's default.
    stuck_after: seconds; see `ProcessGroup`.

  Raises:
    UsageError: the other processes of the cluster cannot be reached.
  """
  try:
    jax.distributed.initialize(
      local_device_ids=local_devices,
      heartbeat_timeout_seconds=JAX_HEARTBEAT_TIMEOUT,
    )
  except ValueError as error:
    if "coordinator_address should be defined" not in str(error):
      raise
    return  # JAX's sentence without a cluster
  except RuntimeError as error:
    reason = " ".join(str(error).split())
    raise UsageError(
      f"this process cannot connect to the others of the cluster ({reason}); "
      "expected the same command on all of them, or --num_processes=1 to run "
      "on this machine alone"
    ) from error
  _create_process_group(stuck_after)


def _create_process_group(stuck_after: float) -> None:
  """Creates the process group, unless this is the only process."""
  global _process_group
  if jax.process_count() == 1:
    return
  client = distributed.global_state.client
  _process_group = ProcessGroup(
    client, jax.process_index(), jax.process_count(), stuck_after
  )
  # Registered after JAX's own exit handler, and therefore run before it.
  atexit.register(_process_group.close)


def run_on_main(fn: Callable[[], Any]) -> Any:
  """Calls a function on process 0 and returns its result on every process.

  Every process must call this function.

  Args:
    fn: called on process 0 only; its result must be JSON-serializable.

  Raises:
    UsageError: `fn` raised it on process 0; every process raises it.
  """
  return fn() if _process_group is None else _process_group.run_on_main(fn)


def allgather(text: str) -> list[str]:
  """Returns the text of every process, by process index.

  Every process must call this function.
  """
  return [text] if _process_group is None else _process_group.allgather(text)


def wait_until_visible(exists: Callable[[], bool]) -> bool:
  """Waits until files written by another process are visible to this one.

  Shared file systems may show them late.

  Args:
    exists: whether the files are visible.

  Returns:
    Whether they became visible within `VISIBILITY_TIMEOUT` seconds. In a
    single-process run nothing is waited for.
  """
  deadline = time.monotonic() + (
    0 if _process_group is None else VISIBILITY_TIMEOUT
  )
  while not exists():
    if time.monotonic() > deadline:
      return False
    time.sleep(0.2)
  return True
