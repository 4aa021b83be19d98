"""Joins the processes of a run, and checks that they share the workdir."""

import contextlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jax.extend.backend import clear_backends

from get_jax.cli.exit import interrupted_by_signals
from get_jax.errors import UsageError
from get_jax.storage.paths import Path, as_path, write_bytes
from get_jax.training import processes
from get_jax.training.preemption import handle_stop_signals

SINGLE_PROCESS_MODES = ("compile", "convert", "summary")


@contextlib.contextmanager
def join_processes(
  mode: str,
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
  stuck_after: float,
  workdir: str | None,
) -> Iterator[None]:
  """Joins the processes of the run, and handles stop signals inside.

  Without flags, the processes are those of the cluster that JAX detects: Cloud
  TPU, Slurm, Open MPI or Kubernetes. With several processes, only process 0
  prints.

  Args:
    mode: value of --mode.
    coordinator: value of --coordinator.
    num_processes: value of --num_processes.
    process_id: value of --process_id.
    stuck_after: value of --stuck_after, in seconds.
    workdir: value of --workdir; all processes must see the same folder.

  Raises:
    UsageError: the flags contradict each other, or the processes cannot be
      reached or do not share the workdir.
  """
  address = _check_flags(coordinator, num_processes, process_id)
  if mode in SINGLE_PROCESS_MODES:
    if address is not None:
      raise UsageError(
        f"--mode={mode} runs in one process; found {address.num_processes}"
      )
    with interrupted_by_signals():
      yield
    return
  if address is not None:
    processes.initialize(*address, stuck_after)
  elif num_processes is None and os.environ.get("SLURM_NTASKS") != "1":
    processes.initialize_cluster(_local_devices(), stuck_after)
  # After joining, because JAX installs its own handler of SIGTERM.
  with handle_stop_signals():
    if processes.process_group() is not None:
      if jax.process_index():
        sys.stdout = open(os.devnull, "w")
      if workdir is not None:
        _check_shared(as_path(workdir))
    yield
    processes.allgather("done")


class _Address(NamedTuple):
  """Place of this process in the run: arguments of `processes.initialize`."""

  coordinator: str
  num_processes: int
  process_id: int


def _check_flags(
  coordinator: str | None, num_processes: int | None, process_id: int | None
) -> _Address | None:
  """Returns the flags, or None if they do not ask for several processes."""
  if num_processes == 1 and coordinator is None and not process_id:
    return None
  flags = {
    "--coordinator": coordinator,
    "--num_processes": num_processes,
    "--process_id": process_id,
  }
  missing = [name for name, value in flags.items() if value is None]
  if len(missing) == len(flags):
    return None
  if coordinator is None or num_processes is None or process_id is None:
    given = next(name for name, value in flags.items() if value is not None)
    raise UsageError(f"{given} is given without {missing[0]}; expected both")
  if not re.fullmatch(r".+:\d+", coordinator):
    raise UsageError(f"--coordinator is {coordinator!r}; expected HOST:PORT")
  if process_id >= num_processes:
    raise UsageError(
      f"--process_id is {process_id}; expected less than --num_processes="
      f"{num_processes}"
    )
  return _Address(coordinator, num_processes, process_id)


def _local_devices() -> list[int] | None:
  """Returns all GPUs for a Slurm task that has a node to itself, else None.

  JAX's default is one GPU per task.
  """
  tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
  gpus = os.environ.get("SLURM_GPUS_ON_NODE", "")
  if re.fullmatch(r"1(\(x\d+\))?", tasks) and gpus.isdigit():
    return list(range(int(gpus)))
  return None


def _check_shared(workdir: Path) -> None:
  """Checks that all processes see the same folder.

  Raises:
    UsageError: a process does not see it, or process 0 cannot write to it.
  """

  def write() -> str:
    name = f".shared-{secrets.token_hex(8)}"
    try:
      write_bytes(workdir / name, b"")
    except OSError as error:
      raise UsageError(
        f"--workdir={workdir} cannot be written ({error.strerror}); "
        "expected a folder of your own"
      ) from error
    return name

  path = workdir / processes.run_on_main(write)
  visible = processes.allgather(
    "yes" if processes.wait_until_visible(path.exists) else ""
  )
  if jax.process_index() == 0:
    path.unlink(missing_ok=True)
  if not all(visible):
    raise UsageError(
      f"--workdir={workdir} is not shared: process {visible.index('')} does "
      "not see what process 0 writes there; expected one folder for all"
    )


def check_platform() -> None:
  """Checks that JAX finds the devices that it is configured for.

  Raises:
    UsageError: the platform of JAX_PLATFORMS has no device here.
  """
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    wanted = os.environ.get("JAX_PLATFORMS")
    jax.config.update("jax_platforms", None)
    clear_backends()
    raise UsageError(
      f"JAX_PLATFORMS is {wanted!r}, which has no device here; expected "
      f"{jax.default_backend()!r}, or unset it, or install the driver and "
      "get_jax[cuda12] or get_jax[tpu]"
    ) from error
