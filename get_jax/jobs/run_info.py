"""How a run computes: said once in its log, and kept beside its results."""

import logging
import pathlib

import jax

from get_jax.aot.lower import count_operations
from get_jax.hardware.chips import device_peak
from get_jax.training.profiling import PerformanceMetrics
from get_jax.training.workdir import write_results

CACHE = "compilation_cache"
log = logging.getLogger(__name__)


def enable_compilation_cache(workdir: pathlib.Path) -> None:
  """Keeps compiled programs in the workdir, for when the run is resumed.

  Only where nothing else is said (JAX_COMPILATION_CACHE_DIR), and not on CPU:
  there programs are made for the one machine.
  """
  named = jax.config.jax_compilation_cache_dir
  if named is None and jax.default_backend() != "cpu":
    jax.config.update("jax_compilation_cache_dir", str(workdir / CACHE))


def build_performance_metrics(config, mesh) -> PerformanceMetrics:
  """What measures a run, with its utilisation where the chips are known."""
  peaks = [device_peak(device.device_kind) for device in mesh.devices.flat]
  if None in peaks:
    return PerformanceMetrics(config.batch_size)
  try:
    operations, _ = count_operations(config, "train")
  except NotImplementedError:
    operations = None
  return PerformanceMetrics(config.batch_size, operations, sum(peaks))


def log_run_info(config, model, mesh, workdir, name: str) -> None:
  """The options of computing, in the log and in results/train.json."""
  fields = ("dtype", "scan", "remat", "attention")
  kinds = sorted({device.device_kind for device in mesh.devices.flat})
  options = {
    **{field: getattr(model, field, None) for field in fields},
    "mesh": dict(mesh.shape),
    "accumulation": config.accumulation,
    "donated": "state",
    "devices": f"{mesh.size} x {', '.join(kinds)}",
    "processes": jax.process_count(),
    "compilation_cache": jax.config.jax_compilation_cache_dir,
    "jax": jax.__version__,
  }
  options["dtype"] = str(options["dtype"] or "float32")
  if jax.process_index() == 0:
    said = ", ".join(f"{key} {value}" for key, value in options.items())
    log.info("%s: %s", name, said)
    write_results(workdir, "train", options)
