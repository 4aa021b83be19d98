"""How a run of main.py begins, on one process or several, and how it ends."""

import contextlib
import os
import pathlib
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import jax
from jax._src import clusters

from get_jax.errors import UsageError
from get_jax.training import processes
from get_jax.training.preemption import EXIT_CODE, Stopped, handle_stop_signals

FAULT, BAD_INPUT = 1, 2
ALONE = ("compile", "convert", "summary")  # modes of one process
CLUSTERS = ("gcetpu", "gketpu", "slurm")


@contextlib.contextmanager
def joined(
  mode: str,
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
  stuck_after: float,
  workdir: str | None,
) -> Iterator[None]:
  """Inside, this process is one of all those of the run, and hears signals.

  Without flags Cloud TPU and Slurm are asked. Of several only process 0 prints.

  Args:
    mode: of main.py.
    coordinator: flag of this name.
    num_processes: flag of this name.
    process_id: flag of this name.
    stuck_after: flag of this name.
    workdir: must be one folder for all.

  Raises:
    UsageError: the flags do not go together, the others cannot be reached or
      do not share the workdir.
  """
  given = _check_flags(coordinator, num_processes, process_id)
  if mode in ALONE:
    if given:
      raise UsageError(f"--mode={mode} runs in one process; found {given}")
    yield
    return
  if given:
    processes.initialize(coordinator, num_processes, process_id, stuck_after)
  elif num_processes is None and _cluster_size() > 1:
    processes.initialize_cluster(_local_devices(), stuck_after)
  # After joining: JAX's own handler of SIGTERM would swallow it.
  with handle_stop_signals():
    if processes.process_group() is not None:
      if jax.process_index():
        sys.stdout = open(os.devnull, "w")
      _check_shared(pathlib.Path(workdir))
    yield
    processes.allgather("done")


def _check_flags(coordinator, num_processes, process_id) -> int:
  """How many processes the flags ask for; 0: they do not."""
  if num_processes == 1 and coordinator is None and not process_id:
    return 0
  flags = {
    "--coordinator": coordinator,
    "--num_processes": num_processes,
    "--process_id": process_id,
  }
  missing = [name for name, value in flags.items() if value is None]
  if len(missing) == len(flags):
    return 0
  if missing:
    there = next(name for name, value in flags.items() if value is not None)
    raise UsageError(f"{there} is given without {missing[0]}; expected both")
  if not re.fullmatch(r".+:\d+", coordinator):
    raise UsageError(f"--coordinator is {coordinator!r}; expected HOST:PORT")
  if process_id >= num_processes:
    raise UsageError(
      f"--process_id is {process_id}; expected less than --num_processes="
      f"{num_processes}"
    )
  return num_processes


def _cluster_size() -> int:
  """How many processes the cluster has started; 1 where there is none."""
  for cluster in clusters.ClusterEnv._cluster_types:
    if cluster.name in CLUSTERS and cluster.is_env_present():
      return cluster.get_process_count()
  return 1


def _local_devices() -> list[int] | None:
  """The GPUs of a Slurm task that has a node for itself: all of them.

  JAX would take one a task.
  """
  tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
  gpus = os.environ.get("SLURM_GPUS_ON_NODE", "")
  if re.fullmatch(r"1(\(x\d+\))?", tasks) and gpus.isdigit():
    return list(range(int(gpus)))
  return None


def _check_shared(workdir: pathlib.Path) -> None:
  """Makes sure that all processes see the same folder.

  Raises:
    UsageError: they do not, or it cannot be written.
  """

  def write() -> str:
    name = f".shared-{secrets.token_hex(8)}"
    try:
      workdir.mkdir(parents=True, exist_ok=True)
      (workdir / name).touch()
    except OSError as error:
      raise UsageError(
        f"--workdir={workdir} cannot be written ({error.strerror}); "
        "expected a folder of your own"
      ) from error
    return name

  path = workdir / processes.run_on_main(write)
  seen = processes.allgather(
    "yes" if processes.wait_until_visible(path.exists) else ""
  )
  if jax.process_index() == 0:
    path.unlink(missing_ok=True)
  if not all(seen):
    raise UsageError(
      f"--workdir={workdir} is not shared: process {seen.index('')} does not "
      "see what process 0 writes there; expected one folder for all"
    )


@contextlib.contextmanager
def ending(refuse: Callable[[str], None]) -> Iterator[None]:
  """Ends the process as the documentation says, whatever happens inside.

  Args:
    refuse: prints a sentence about bad input and exits.
  """
  try:
    yield
  except UsageError as error:
    try:
      refuse(str(error))
    finally:
      _leave_others(BAD_INPUT, str(error))
  except FloatingPointError as error:
    print(f"Stopped: {error}", file=sys.stderr)
    _leave_others(FAULT, f"another process stopped: {error}")
    sys.exit(FAULT)
  except Stopped as stop:
    if jax.process_index() == 0:
      print(f"{stop}; run the same command again to go on", file=sys.stderr)
    sys.exit(EXIT_CODE)
  except Exception as error:
    if processes.process_group() is None:
      raise
    traceback.print_exc()
    if isinstance(error, jax.errors.JaxRuntimeError):
      # Perhaps the echo of another process's end; the watch will know.
      time.sleep(processes.HEARTBEAT_TIMEOUT + 3 * processes.HEARTBEAT_INTERVAL)
    kind, first = type(error).__name__, [*str(error).splitlines(), ""][0]
    name = f"process {jax.process_index()}"
    _leave_others(FAULT, f"{name} failed: {kind}: {first}")


def _leave_others(code: int, reason: str) -> None:
  """Ends one of several processes; does nothing where there is one."""
  group = processes.process_group()
  if group is not None:
    group.abort(code, reason)
