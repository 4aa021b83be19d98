"""Peak compute, memory and links of accelerator chips, from data sheets."""

import dataclasses

from get_jax.errors import UsageError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """Data sheet of one TPU chip or one GPU.

  Bandwidths are in bytes per second. Sources: Cloud TPU documentation (system
  architecture pages) and NVIDIA's H100 and H200 data sheets; for the links of
  v3, Jouppi et al. 2020, Table 2.

  Attributes:
    platform: "tpu" or "cuda".
    peak_flops: dense bfloat16 operations per second.
    memory: bytes that a program may use. For TPUs this is the limit of the
      compiler, slightly less than the memory of the chip.
    memory_bandwidth: bandwidth of that memory.
    link_bandwidth: bandwidth of one link to a neighbour, per direction; for a
      GPU, of all its NVLinks together.
    network_bandwidth: bandwidth to chips of other slices or hosts, per
      direction.
    grid_dims: number of dimensions of the grid that the links form; 0 for a
      GPU.
    ring_multiple: a side of the grid closes to a ring if its length is a
      multiple of this number.
    num_devices: JAX devices per chip; they share all of the above evenly.
    topology_options: options of the compiler's topology description.
    compiler_options: options of the compiler.
  """

  platform: str
  peak_flops: float
  memory: float
  memory_bandwidth: float
  link_bandwidth: float
  network_bandwidth: float
  grid_dims: int = 0
  ring_multiple: int = 1
  num_devices: int = 1
  topology_options: dict[str, str] = dataclasses.field(default_factory=dict)
  compiler_options: dict[str, bool] = dataclasses.field(default_factory=dict)


# Triton matrix products are autotuned, which needs an attached GPU.
CUBLAS_ONLY = {"xla_gpu_enable_triton_gemm": False}
CHIPS = {
  "v3": Chip(
    "tpu", 123e12, 2 * 15.48 * GIB, 900e9, 82e9, 3.125e9, 2, 32, num_devices=2
  ),
  "v4": Chip(
    "tpu",
    275e12,
    30.75 * GIB,
    1228e9,
    50e9,
    6.25e9,
    3,
    4,
    topology_options=dict(chip_config_name="megacore"),
  ),
  "v5e": Chip("tpu", 197e12, 15.75 * GIB, 819e9, 50e9, 3.125e9, 2, 16),
  "v5p": Chip("tpu", 459e12, 95.74 * GIB, 2765e9, 100e9, 6.25e9, 3, 4),
  "v6e": Chip("tpu", 918e12, 31.25 * GIB, 1638e9, 100e9, 12.5e9, 2, 16),
  "tpu7x": Chip(
    "tpu", 2307e12, 2 * 94.75 * GIB, 7380e9, 100e9, 12.5e9, 3, 4, num_devices=2
  ),
  "h100": Chip(
    "cuda", 989e12, 80e9, 3350e9, 450e9, 50e9, compiler_options=CUBLAS_ONLY
  ),
  "h200": Chip(
    "cuda", 989e12, 141e9, 4800e9, 450e9, 50e9, compiler_options=CUBLAS_ONLY
  ),
}


# Names in CHIPS by JAX's `device_kind`. H100 PCIe is slower and not listed.
DEVICE_KINDS = {
  "TPU v3": "v3",
  "TPU v4": "v4",
  "TPU v5 lite": "v5e",
  "TPU v5e": "v5e",
  "TPU v5": "v5p",
  "TPU v5p": "v5p",
  "TPU v6 lite": "v6e",
  "TPU v6e": "v6e",
  "TPU7x": "tpu7x",
  "NVIDIA H100 80GB HBM3": "h100",
  "NVIDIA H200": "h200",
}


def device_peak(device_kind: str) -> float | None:
  """Returns the bfloat16 peak of one JAX device, in operations per second.

  Args:
    device_kind: attribute `device_kind` of the device.

  Returns:
    None if the device is not in the table.
  """
  if device_kind not in DEVICE_KINDS:
    return None
  chip = CHIPS[DEVICE_KINDS[device_kind]]
  return chip.peak_flops / chip.num_devices


def find_chip(name: str) -> Chip:
  """Returns the chip of that name.

  Raises:
    UsageError: the name is not in `CHIPS`.
  """
  if name not in CHIPS:
    raise UsageError(
      f"--topology names the chip {name!r}; expected one of: {', '.join(CHIPS)}"
    )
  return CHIPS[name]
