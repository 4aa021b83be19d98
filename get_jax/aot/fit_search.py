"""Searches for remat, mesh and batch settings that fit in device memory."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import ml_collections

from get_jax.aot.report import CompileReport, compile_report
from get_jax.builders.mesh import CONFIG_AXES
from get_jax.hardware.topology import Topology
from get_jax.progress import ProgressBar

# Rematerialisation policies, from most to least memory.
REMAT = ("none", "dots", "full")
# Lengths of the fsdp axis to try, for pods of about a dozen chips and more. No
# length exceeds a ring of a pod.
FSDP = (4, 16, 64)

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class LargestBatch:
  """The largest batch that fits with given settings.

  Attributes:
    settings: values by path in the config.
    batch: images per device; 0 if not even one fits.
    report: report on that batch; None if no batch fits.
  """

  settings: dict[str, Any]
  batch: int
  report: CompileReport | None


def format_flags(settings: dict[str, Any]) -> str:
  """Returns settings in the form of command line flags."""
  return " ".join(f"--config.{path}={v}" for path, v in settings.items())


def find_fitting_settings(
  config: ml_collections.ConfigDict, step: str, topology: Topology
) -> tuple[dict[str, Any], CompileReport] | None:
  """Compiles with one of `candidate_settings` after another until one fits.

  Args:
    config: the experiment.
    step: "train" or "sample".
    topology: topology to compile for.

  Returns:
    The first settings that fit and their report; None if none fits.

  Raises:
    UsageError: see `compile_report`.
  """
  candidates = list(
    candidate_settings(config, step, len(topology.devices), topology.num_slices)
  )
  with ProgressBar(candidates, desc="trying settings", unit="setting") as bar:
    for settings in bar:
      bar.set_postfix_str(format_flags(settings))
      report = compile_report(_with_settings(config, settings), step, topology)
      if report.fits:
        return settings, report
  return None


def candidate_settings(
  config: ml_collections.ConfigDict,
  step: str,
  num_devices: int,
  num_slices: int = 1,
) -> Iterator[dict[str, Any]]:
  """Yields settings that reduce the memory of a step, cheapest first.

  For training: store less for the backward pass, shard the state, accumulate
  gradients over parts of the batch, reduce the batch size. For sampling: reduce
  the batch size. Each candidate includes the ones before it.

  Args:
    config: the experiment.
    step: "train" or "sample".
    num_devices: number of devices of all slices.
    num_slices: number of slices.
  """
  settings: dict[str, Any] = {}
  per_slice = num_devices // num_slices
  batch_shards = num_slices * math.prod(_mesh_shape(config, per_slice)[:2])
  if step == "sample":
    for batch in _halves(config.sampling.batch_size, batch_shards):
      yield {"sampling.batch_size": batch}
    return
  for policy in _stronger_remat(config):
    settings["model.remat"] = policy
    yield dict(settings)
  for fsdp in _fsdp_sizes(config, per_slice):
    if fsdp > _mesh_shape(config, per_slice)[1]:
      settings |= {"mesh.data": -1, "mesh.fsdp": fsdp}
      yield dict(settings)
  for batch in _halves(config.batch_size // config.accumulation, batch_shards):
    yield settings | {"accumulation": config.batch_size // batch}
  for batch in _halves(config.batch_size, batch_shards * config.accumulation):
    yield settings | {"batch_size": batch}


def search_largest_batch(
  config: ml_collections.ConfigDict, step: str, topology: Topology
) -> list[LargestBatch]:
  """Searches the largest batch per device for each remat policy and mesh.

  The batch is doubled or halved, starting from that of the config; a stronger
  policy starts from the result of the weaker one.

  Args:
    config: the experiment; its mesh axis "tensor" does not change.
    step: "train" or "sample".
    topology: topology to compile for.

  Raises:
    UsageError: see `compile_report`.
  """
  num_devices = len(topology.devices)
  per_slice = num_devices // topology.num_slices
  _, fsdp, tensor = _mesh_shape(config, per_slice)
  if step == "train":
    batch_key, batch_size = "batch_size", config.batch_size
    fsdp_sizes = (1, *_fsdp_sizes(config, per_slice))
    policies = REMAT if "remat" in config.model else ("",)
  else:
    batch_key, batch_size = "sampling.batch_size", config.sampling.batch_size
    fsdp_sizes, policies = (fsdp,), ("",)
  results = []
  with ProgressBar(
    total=len(fsdp_sizes) * len(policies), desc="searching", unit="setting"
  ) as bar:
    for size in fsdp_sizes:
      start = max(1, batch_size * tensor // num_devices)
      for policy in policies:
        settings: dict[str, Any] = {"mesh.data": -1, "mesh.fsdp": size}
        if policy:
          settings["model.remat"] = policy
        if config.accumulation > 1:
          settings["accumulation"] = 1
        bar.set_postfix_str(format_flags(settings))

        def fit(batch, settings=settings):
          changed = _with_settings(
            config, settings | {batch_key: batch * num_devices // tensor}
          )
          report = compile_report(changed, step, topology)
          return report if report.fits else None

        batch, report = largest_fit(fit, start)
        results.append(LargestBatch(settings, batch, report))
        start = max(start, batch)
        bar.update()
  return results


def largest_fit(
  fit: Callable[[int], Result | None], start: int
) -> tuple[int, Result | None]:
  """Returns the largest batch that fits, among start times powers of two.

  Args:
    fit: maps a batch size to a result, or to None if the batch does not fit.
    start: first batch size that is tried; halved down to 1 if necessary.

  Returns:
    The batch size and the result of `fit`; (0, None) if nothing fits.
  """
  batch, result = start, fit(start)
  if result is None:
    while result is None and batch > 1:
      batch //= 2
      result = fit(batch)
    return (batch, result) if result is not None else (0, None)
  while (larger := fit(2 * batch)) is not None:
    batch, result = 2 * batch, larger
  return batch, result


def _with_settings(
  config: ml_collections.ConfigDict, settings: dict[str, Any]
) -> ml_collections.ConfigDict:
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(settings)
  return changed


def _mesh_shape(
  config: ml_collections.ConfigDict, num_devices: int
) -> list[int]:
  """Returns the length of each mesh axis in a slice, with -1 resolved."""
  sizes = [config.mesh[axis] for axis in CONFIG_AXES]
  if -1 in sizes:
    sizes[sizes.index(-1)] = num_devices // -math.prod(sizes)
  return sizes


def _fsdp_sizes(
  config: ml_collections.ConfigDict, num_devices: int
) -> list[int]:
  """Returns the lengths of the fsdp axis that the devices of a slice allow."""
  rest = num_devices // _mesh_shape(config, num_devices)[2]
  return [size for size in FSDP if size <= rest and rest % size == 0]


def _stronger_remat(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Returns the remat policies that need less memory than the config's."""
  policy = config.model.get("remat")
  return REMAT[REMAT.index(policy) + 1 :] if policy in REMAT else ()


def _halves(batch_size: int, multiple: int) -> Iterator[int]:
  """Yields a half, a quarter and so on that are multiples of `multiple`."""
  while batch_size % 2 == 0 and batch_size // 2 % multiple == 0:
    batch_size //= 2
    yield batch_size
