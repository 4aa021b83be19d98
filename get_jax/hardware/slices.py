"""Splits devices into slices: parts that a slower network connects."""

from collections.abc import Sequence

import jax

from get_jax.errors import UsageError


def split_into_slices(
  devices: Sequence[jax.Device], num_slices: int | None = None
) -> list[list[jax.Device]]:
  """Splits devices into slices of equal size.

  TPU devices belong to the slice that the runtime reports. Other devices are
  split in their order, which is that of the processes: the first slice is the
  devices of the first processes.

  Args:
    devices: the devices.
    num_slices: number of slices; None: as many as the TPU runtime reports, one
      for other devices.

  Raises:
    UsageError: the devices do not form that many slices.
  """
  if devices[0].platform == "tpu":
    indices = [getattr(d, "slice_index", None) or 0 for d in devices]
    slices = [
      [d for d, i in zip(devices, indices, strict=True) if i == index]
      for index in sorted(set(indices))
    ]
    if num_slices not in (None, len(slices)):
      raise UsageError(
        f"--num_slices is {num_slices}; expected {len(slices)}, the number of "
        "TPU slices of this run, or no such flag"
      )
    return slices
  count = num_slices or 1
  size, rest = divmod(len(devices), count)
  if rest or not size:
    raise UsageError(
      f"--num_slices is {count}; expected a number that divides the "
      f"{len(devices)} devices"
    )
  return [list(devices[i * size : (i + 1) * size]) for i in range(count)]
