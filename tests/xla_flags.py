"""Flags of the compiler for tests and the processes they start.

Most of the suite's time is compilation, not computation, so that programs are
compiled with few optimisations: this takes a third of the time.
"""

import importlib.metadata

FAST_COMPILE = (
  "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
  " --xla_cpu_parallel_codegen_split_count=1"
)
# Later versions of JAX have no other emitters.
if importlib.metadata.version("jaxlib").startswith("0.10."):
  FAST_COMPILE += " --xla_cpu_use_fusion_emitters=false"


def xla_flags(devices: int, optimized: bool = False) -> str:
  """Returns XLA_FLAGS for a number of CPU devices.

  Args:
    devices: number of simulated CPU devices.
    optimized: whether programs are compiled as for users. Rounding differs.
  """
  flags = f"--xla_force_host_platform_device_count={devices}"
  return flags if optimized else f"{FAST_COMPILE} {flags}"
