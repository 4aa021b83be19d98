"""The accelerators that programs are compiled for, as their makers state."""

import dataclasses

from get_jax.errors import UsageError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip, or one GPU.

  Bandwidths are bytes per second. Sources: Cloud TPU documentation (system
  architecture pages) and NVIDIA's H100 and H200 data sheets; of v3's links
  Jouppi et al. 2020, Table 2.

  Attributes:
    platform: "tpu" or "cuda".
    peak_flops: bfloat16, dense, per second.
    memory: bytes that a program may use. Of TPUs that is what their compiler
      grants, a little less than the chip has.
    memory_bandwidth: of that memory.
    link_bandwidth: of one link to a neighbour, each way; of a GPU all its
      NVLinks together.
    network_bandwidth: to chips of other slices or hosts, each way.
    dimensions: of the grid that the links make; a GPU has none.
    ring: a side of the grid is closed to a ring if this divides it.
    devices: of JAX on one chip; they share all the above evenly.
    config: settings of the compiler's topology.
    options: of the compiler.
  """

  platform: str
  peak_flops: float
  memory: float
  memory_bandwidth: float
  link_bandwidth: float
  network_bandwidth: float
  dimensions: int = 0
  ring: int = 1
  devices: int = 1
  config: dict[str, str] = dataclasses.field(default_factory=dict)
  options: dict[str, bool] = dataclasses.field(default_factory=dict)


# Triton's products are to be tuned on a GPU that is there.
CUBLAS = {"xla_gpu_enable_triton_gemm": False}
CHIPS = {
  "v3": Chip(
    "tpu", 123e12, 2 * 15.48 * GIB, 900e9, 82e9, 3.125e9, 2, 32, devices=2
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
    config=dict(chip_config_name="megacore"),
  ),
  "v5e": Chip("tpu", 197e12, 15.75 * GIB, 819e9, 50e9, 3.125e9, 2, 16),
  "v5p": Chip("tpu", 459e12, 95.74 * GIB, 2765e9, 100e9, 6.25e9, 3, 4),
  "v6e": Chip("tpu", 918e12, 31.25 * GIB, 1638e9, 100e9, 12.5e9, 2, 16),
  "tpu7x": Chip(
    "tpu", 2307e12, 2 * 94.75 * GIB, 7380e9, 100e9, 12.5e9, 3, 4, devices=2
  ),
  "h100": Chip("cuda", 989e12, 80e9, 3350e9, 450e9, 50e9, options=CUBLAS),
  "h200": Chip("cuda", 989e12, 141e9, 4800e9, 450e9, 50e9, options=CUBLAS),
}


# By what JAX calls their devices. An H100 on PCIe is slower and left out.
KINDS = {
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


def device_peak(kind: str) -> float | None:
  """Operations a second in bfloat16 of one device of JAX.

  Args:
    kind: its `device_kind`.

  Returns:
    None for a device that is not in the table.
  """
  if kind not in KINDS:
    return None
  chip = CHIPS[KINDS[kind]]
  return chip.peak_flops / chip.devices


def find_chip(name: str) -> Chip:
  """A chip by name.

  Raises:
    UsageError: there is none of that name.
  """
  if name not in CHIPS:
    raise UsageError(
      f"--topology names the chip {name!r}; expected one of: {', '.join(CHIPS)}"
    )
  return CHIPS[name]
