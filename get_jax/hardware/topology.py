"""Devices that are not there: what a compiler needs to know of a pod."""

import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
from collections.abc import Sequence

import jax
import numpy as np

from get_jax.errors import UsageError
from get_jax.hardware.chips import Chip, find_chip

# No question to the cloud where this machine is; beside other processes.
LIBTPU = {
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_STDERR_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """A pod, or several slices of pods.

  Attributes:
    name: such as "v5e:4x4".
    chip: what it is made of.
    grid: chips of a slice along each direction; empty with GPUs.
    num_slices: slices of TPUs.
    devices: of all slices, to make a mesh of.
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
    """In all slices."""
    return len(self.devices) // self.chip.devices

  @property
  def memory(self) -> float:
    """Bytes of one device."""
    return self.chip.memory / self.chip.devices

  def islands(self, devices: Sequence[jax.Device]) -> np.ndarray:
    """The slice, or the host of GPUs, of each device, (devices,)."""
    if not self.chip.dimensions:
      return np.array([d.process_index for d in devices], int)
    return np.array([getattr(d, "slice_index", None) or 0 for d in devices])

  def coordinates(self, devices: Sequence[jax.Device]) -> np.ndarray:
    """The place of each device in its slice, (devices, directions)."""
    if not self.chip.dimensions:
      return np.zeros((len(devices), 0), int)
    return np.array([d.coords[: len(self.grid)] for d in devices], int)


def find_topology(name: str, num_slices: int = 1) -> Topology:
  """A topology by name, from the compiler of its chips.

  Args:
    name: "chip:AxB" or "chip:AxBxC" of a TPU slice, "chip:HOSTSxGPUS" of GPUs.
    num_slices: how many such slices there are, of TPUs.

  Raises:
    UsageError: the name is wrong, or the compiler is not installed.
  """
  chip, grid = _parse(name)
  if num_slices < 1 or (num_slices > 1 and chip.platform != "tpu"):
    raise UsageError(
      f"--num_slices is {num_slices}; expected a positive number of slices of "
      "TPUs, or 1 with GPUs, whose hosts --topology counts"
    )
  # Where there are accelerators, they are left alone.
  jax.config.update("jax_platforms", "cpu")
  if chip.platform == "cuda":
    from get_jax.hardware.cuda import cuda_devices

    kind = name.partition(":")[0]
    with _quiet():
      devices = cuda_devices(
        kind, *grid, memory=chip.memory, bandwidth=chip.memory_bandwidth
      )
    return Topology(name, chip, (), 1, devices)
  devices = _tpu_devices(name, chip, grid, num_slices)
  return Topology(name, chip, grid, num_slices, devices)


def _parse(name: str) -> tuple[Chip, tuple[int, ...]]:
  kind, _, grid = name.partition(":")
  chip = find_chip(kind)
  wanted = chip.dimensions or 2
  if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", grid) or (
    len(grid.split("x")) != wanted
  ):
    raise UsageError(
      f"--topology={name} has no grid of {kind}; expected "
      f"{kind}:{'x'.join('4' * wanted)} or other sizes"
      + ("" if chip.dimensions else ", hosts by GPUs of a host")
    )
  return chip, tuple(int(n) for n in grid.split("x"))


def _tpu_devices(
  name: str, chip: Chip, grid: tuple[int, ...], num_slices: int
) -> list:
  from jax.experimental import topologies

  if importlib.util.find_spec("libtpu") is None:
    raise UsageError(
      f'--topology={name} needs libtpu; install it with pip install -e ".[tpu]"'
    )
  for key, value in LIBTPU.items():
    os.environ.setdefault(key, value)
  options = dict(chip.config)
  if 1 in grid[:2]:  # Less than the square of chips that a host has.
    options["chips_per_host_bounds"] = (*(min(n, 2) for n in grid[:2]), 1)
  if num_slices > 1:
    options["num_slices"] = num_slices
  try:
    with _quiet():
      found = topologies.get_topology_desc(
        platform="tpu", topology_name=name, **options
      )
  except jax.errors.JaxRuntimeError as error:
    raise UsageError(
      f"--topology={name} is not known to libtpu: "
      f"{' '.join(str(error).split())}"
    ) from error
  return found.devices


@contextlib.contextmanager
def _quiet():
  """Without what plugins write past Python when they find no hardware."""
  sys.stderr.flush()
  kept = os.dup(2)
  try:
    with open(os.devnull, "w") as nowhere:
      os.dup2(nowhere.fileno(), 2)
      yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
