"""TPU slices and groups of GPUs that programs can be compiled for."""

import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from get_jax.errors import UsageError
from get_jax.hardware.chips import Chip, find_chip

# Lets libtpu load without a TPU: no query of the cloud's metadata server, and
# other processes may use libtpu at the same time.
LIBTPU_ENVIRONMENT = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_STDERR_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """One or several TPU slices, or a group of hosts with GPUs.

  Attributes:
    name: such as "v5e:4x4".
    chip: data sheet of its chips.
    grid: number of chips of a slice along each direction; empty for GPUs.
    num_slices: number of TPU slices; 1 for GPUs.
    devices: devices of all slices, for a mesh.
  """

  name: str
  chip: Chip
  grid: tuple[int, ...]
  num_slices: int
  devices: list

  def __str__(self) -> str:
    slices = f" x {self.num_slices}" if self.num_slices > 1 else ""
    return f"{self.name}{slices} ({self.num_chips:,} chips)"

  @property
  def num_chips(self) -> int:
    """Number of chips in all slices."""
    return len(self.devices) // self.chip.num_devices

  @property
  def memory(self) -> float:
    """Memory of one device in bytes."""
    return self.chip.memory / self.chip.num_devices

  def slice_indices(self, devices: Sequence[jax.Device]) -> np.ndarray:
    """Returns the slice, or the host for GPUs, of each device, (devices,)."""
    if not self.chip.grid_dims:
      return np.array([d.process_index for d in devices], int)
    return np.array([getattr(d, "slice_index", None) or 0 for d in devices])

  def coordinates(self, devices: Sequence[jax.Device]) -> np.ndarray:
    """Returns the grid position of each device, (devices, grid_dims)."""
    if not self.chip.grid_dims:
      return np.zeros((len(devices), 0), int)
    return np.array([d.coords[: len(self.grid)] for d in devices], int)


def find_topology(name: str, num_slices: int = 1) -> Topology:
  """Returns the topology of that name, as its compiler describes it.

  Args:
    name: "chip:AxB" or "chip:AxBxC" for a TPU slice, "chip:HOSTSxGPUS" for
      GPUs.
    num_slices: number of such TPU slices.

  Raises:
    UsageError: the name is wrong, or the compiler is not installed.
  """
  chip, grid = _parse(name)
  if num_slices < 1 or (num_slices > 1 and chip.platform != "tpu"):
    raise UsageError(
      f"--num_slices is {num_slices}; expected a positive number of slices of "
      "TPUs, or 1 for GPUs, whose number of hosts is part of --topology"
    )
  # Compiling does not use accelerators of this machine.
  jax.config.update("jax_platforms", "cpu")
  if chip.platform == "cuda":
    from get_jax.hardware.cuda import cuda_devices

    hosts, gpus = grid
    with _stderr_suppressed():
      devices = cuda_devices(
        name.partition(":")[0], hosts, gpus, chip.memory, chip.memory_bandwidth
      )
    return Topology(name, chip, (), 1, devices)
  devices = _tpu_devices(name, chip, grid, num_slices)
  return Topology(name, chip, grid, num_slices, devices)


def _parse(name: str) -> tuple[Chip, tuple[int, ...]]:
  """Splits the name of a topology into chip and grid."""
  chip_name, _, grid = name.partition(":")
  chip = find_chip(chip_name)
  num_dims = chip.grid_dims or 2  # hosts and GPUs per host
  if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", grid) or (
    len(grid.split("x")) != num_dims
  ):
    raise UsageError(
      f"--topology={name} has no grid of {chip_name}; expected "
      f"{chip_name}:{'x'.join('4' * num_dims)} or other sizes"
      + ("" if chip.grid_dims else ", as hosts x GPUs per host")
    )
  return chip, tuple(int(n) for n in grid.split("x"))


def _tpu_devices(
  name: str, chip: Chip, grid: tuple[int, ...], num_slices: int
) -> list:
  """Returns the devices of TPU slices, as libtpu describes them."""
  from jax.experimental import topologies

  if importlib.util.find_spec("libtpu") is None:
    raise UsageError(
      f'--topology={name} needs libtpu; install it with pip install -e ".[tpu]"'
    )
  for key, value in LIBTPU_ENVIRONMENT.items():
    os.environ.setdefault(key, value)
  options: dict[str, Any] = dict(chip.topology_options)
  if 1 in grid[:2]:  # Smaller than the 2 x 2 chips of a host.
    options["chips_per_host_bounds"] = (*(min(n, 2) for n in grid[:2]), 1)
  if num_slices > 1:
    options["num_slices"] = num_slices
  try:
    with _stderr_suppressed():
      topology = topologies.get_topology_desc(
        platform="tpu", topology_name=name, **options
      )
  except jax.errors.JaxRuntimeError as error:
    raise UsageError(
      f"--topology={name} is not known to libtpu: "
      f"{' '.join(str(error).split())}"
    ) from error
  return topology.devices


@contextlib.contextmanager
def _stderr_suppressed() -> Iterator[None]:
  """Suppresses stderr, which plugins write to natively without hardware."""
  sys.stderr.flush()
  stderr = os.dup(2)
  try:
    with open(os.devnull, "w") as devnull:
      os.dup2(devnull.fileno(), 2)
      yield
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)
