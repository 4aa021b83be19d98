"""Logs and stores run information: dtype, mesh, devices, versions."""

import importlib.metadata
import logging
import os
import platform

import clu.platform
import flax.linen as nn
import jax
import ml_collections
from jax.sharding import Mesh

import get_jax
from get_jax.aot.lower import count_operations
from get_jax.hardware.chips import device_peak
from get_jax.hardware.host_memory import keeps_freed_memory
from get_jax.storage.paths import Path
from get_jax.training.profiling import PerformanceMetrics
from get_jax.training.state import TrainState
from get_jax.training.workdir import write_results

CACHE = "compilation_cache"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
log = logging.getLogger(__name__)


def enable_compilation_cache(workdir: Path) -> None:
  """Stores compiled programs in the workdir, for when the run is resumed.

  Another cache directory (JAX_COMPILATION_CACHE_DIR) takes precedence. Programs
  for the CPU are not stored, because they depend on the machine.
  """
  if _compilation_cache() is None and jax.default_backend() != "cpu":
    jax.config.update("jax_compilation_cache_dir", str(workdir / CACHE))


def build_performance_metrics(
  config: ml_collections.ConfigDict, mesh: Mesh
) -> PerformanceMetrics:
  """Builds the performance metrics of a run.

  They include the utilisation if the peak of the devices is known and the
  operations of a step do not depend on data.
  """
  peaks = []
  for device in mesh.devices.flat:
    peak = device_peak(device.device_kind)
    if peak is None:
      return PerformanceMetrics(config.batch_size)
    peaks.append(peak)
  operations = None
  try:
    operations, _ = count_operations(config, "train")
  except NotImplementedError:
    pass
  return PerformanceMetrics(config.batch_size, operations, sum(peaks))


def log_run_info(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  mesh: Mesh,
  workdir: Path,
  name: str,
  state: TrainState,
) -> None:
  """Logs how a run computes and writes it to results/train.json.

  Clu's work unit, which a platform may show, gets the workdir and the status of
  each process. The file also has the number of parameters, and the versions of
  Python and of the packages.

  Args:
    config: the experiment.
    model: the network of the experiment.
    mesh: mesh of the run.
    workdir: directory of the run.
    name: prefix of the log line, such as "train" or "teacher".
    state: state of the training.
  """
  fields = ("dtype", "scan", "remat", "attention")
  kinds = sorted({device.device_kind for device in mesh.devices.flat})
  info = {
    **{field: getattr(model, field, None) for field in fields},
    "mesh": dict(mesh.shape),
    "accumulation": config.accumulation,
    "donated": "state",
    "devices": f"{mesh.size} x {', '.join(kinds)}",
    "processes": jax.process_count(),
    "compilation_cache": _compilation_cache(),
    "freed_memory": "kept" if keeps_freed_memory() else "returned",
    "jax": jax.__version__,
  }
  info["dtype"] = str(info["dtype"] or "float32")
  work_unit = clu.platform.work_unit()
  work_unit.set_task_status(
    f"{name} on process {jax.process_index()} of {jax.process_count()}"
  )
  if jax.process_index() == 0:
    work_unit.create_artifact(
      clu.platform.ArtifactType.DIRECTORY, os.fspath(workdir), name
    )
    text = ", ".join(f"{key} {value}" for key, value in info.items())
    log.info("%s: %s", name, text)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    more = {"parameters": parameters, "versions": _versions()}
    write_results(workdir, "train", info | more)


def _versions() -> dict[str, str]:
  """Returns the versions of Python, of this package and of others, by name."""
  versions = {"python": platform.python_version()}
  versions["get_jax"] = get_jax.__version__
  return versions | {
    name: importlib.metadata.version(name) for name in PACKAGES
  }


def _compilation_cache() -> str | None:
  return jax.config.values["jax_compilation_cache_dir"]
