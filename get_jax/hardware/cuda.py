"""GPUs that are not there, through the CUDA plugin's compiler.

The wheels jax-cuda12-plugin and jax-cuda12-pjrt are enough: neither driver nor
CUDA libraries are needed to compile. Without a GPU nothing is tuned, so that
the program tells memory and collectives, not speed; and attention is XLA's,
which needs more memory than cuDNN's.
"""

import importlib.util

import jax

from get_jax.errors import UsageError

# Of both H100 and H200 (SXM): what XLA asks of a device before it compiles.
_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  memory_bandwidth: {bandwidth}
  device_memory_size: {memory}
  cuda_compute_capability {{ major: 9 minor: 0 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{name}"
"""


def cuda_devices(
  name: str, hosts: int, gpus: int, memory: float, bandwidth: float
) -> list:
  """Devices of `hosts` machines with `gpus` each, host by host.

  Args:
    name: such as "h100".
    hosts: number of machines.
    gpus: GPUs of a machine.
    memory: bytes of a GPU.
    bandwidth: of that memory, bytes a second.

  Raises:
    UsageError: the compiler is not installed.
  """
  from jax.experimental import topologies

  wheels = ("jax_cuda12_plugin", "jax_cuda13_plugin")
  if not any(map(importlib.util.find_spec, wheels)):
    raise UsageError(
      f"--topology={name}:{hosts}x{gpus} needs JAX's CUDA plugin; install it "
      'with pip install -e ".[cuda12]"'
    )
  target = _TARGET.format(
    name=name.upper(), memory=int(memory), bandwidth=int(bandwidth)
  )
  try:
    found = topologies.get_topology_desc(
      platform="cuda",
      topology_name="",
      target_config=target,
      topology=f"1x{hosts}x{gpus}",
    )
  except (jax.errors.JaxRuntimeError, RuntimeError) as error:
    raise UsageError(
      f"--topology={name}:{hosts}x{gpus}: JAX's CUDA plugin does not compile "
      f"for it: {' '.join(str(error).split())}"
    ) from error
  return found.devices
