"""GPU devices for ahead-of-time compilation on machines without a GPU.

Compiling needs the wheels jax-cuda12-plugin and jax-cuda12-pjrt, but neither a
driver nor the CUDA libraries. Without a GPU nothing is autotuned, so the
compiled program gives memory and collectives, but not speed. Attention is
XLA's, which needs more memory than cuDNN's.
"""

import importlib.util

import jax

from get_jax.errors import UsageError

# Device properties that XLA needs to compile; those of H100 and H200 (SXM).
_TARGET_CONFIG = """
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
  """Returns the devices of a group of hosts with NVIDIA GPUs, host by host.

  Args:
    name: chip, such as "h100".
    hosts: number of hosts.
    gpus: number of GPUs per host.
    memory: memory of a GPU, in bytes.
    bandwidth: bandwidth of that memory, in bytes per second.

  Raises:
    UsageError: the compiler is not installed or does not support the GPUs.
  """
  from jax.experimental import topologies

  wheels = ("jax_cuda12_plugin", "jax_cuda13_plugin")
  if not any(map(importlib.util.find_spec, wheels)):
    raise UsageError(
      f"--topology={name}:{hosts}x{gpus} needs JAX's CUDA plugin; install it "
      'with pip install -e ".[cuda12]"'
    )
  target_config = _TARGET_CONFIG.format(
    name=name.upper(), memory=int(memory), bandwidth=int(bandwidth)
  )
  try:
    topology = topologies.get_topology_desc(
      platform="cuda",
      topology_name="",
      target_config=target_config,
      topology=f"1x{hosts}x{gpus}",
    )
  except (jax.errors.JaxRuntimeError, RuntimeError) as error:
    raise UsageError(
      f"--topology={name}:{hosts}x{gpus}: JAX's CUDA plugin does not compile "
      f"for it: {' '.join(str(error).split())}"
    ) from error
  return topology.devices
