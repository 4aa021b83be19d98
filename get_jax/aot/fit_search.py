"""Settings under which a step fits, and the largest batch that does."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from get_jax.aot.report import CompileReport, compile_report
from get_jax.hardware.topology import Topology
from get_jax.training.sharding import AXES

# From what keeps the most to what keeps the least.
REMAT = ("none", "dots", "full")
# Axes of a dozen chips at least, and no longer than a ring of a pod.
FSDP = (4, 16, 64)


@dataclasses.dataclass(frozen=True)
class LargestBatch:
  """The largest batch that fits under some settings.

  Attributes:
    settings: by path in the config.
    batch: images on a device; 0 if not even one fits.
    report: of that batch; None without one.
  """

  settings: dict[str, Any]
  batch: int
  report: CompileReport | None


def flags(settings: dict[str, Any]) -> str:
  """Settings as they are given on the command line."""
  return " ".join(f"--config.{path}={v}" for path, v in settings.items())


def find_fitting_settings(
  config, kind: str, topology: Topology
) -> tuple[dict[str, Any], CompileReport] | None:
  """The first of `candidate_settings` that fits, compiled; None if none does.

  Raises:
    UsageError: see `examine`.
  """
  tries = list(candidate_settings(config, kind, len(topology.devices)))
  with tqdm(tries, desc="looking for a setting that fits", unit="try") as bar:
    for settings in bar:
      bar.set_postfix_str(flags(settings))
      report = compile_report(_changed(config, settings), kind, topology)
      if report.fits:
        return settings, report
  return None


def candidate_settings(
  config, kind: str, devices: int
) -> Iterator[dict[str, Any]]:
  """What makes a step smaller, from the least harm to the most.

  For training: to keep less for the backward pass, to split the state, to
  accumulate gradients over parts of the batch, to learn from smaller batches;
  for sampling smaller batches alone. Each comes on top of those before.
  """
  settings: dict[str, Any] = {}
  parts = math.prod(_mesh(config, devices)[:2])
  if kind == "sample":
    for batch in _halves(config.sampling.batch_size, parts):
      yield {"sampling.batch_size": batch}
    return
  for policy in _stronger(config):
    settings["model.remat"] = policy
    yield dict(settings)
  for fsdp in _fsdp_sizes(config, devices):
    if fsdp > _mesh(config, devices)[1]:
      settings |= {"mesh.data": -1, "mesh.fsdp": fsdp}
      yield dict(settings)
  for batch in _halves(config.batch_size // config.accumulation, parts):
    yield settings | {"accumulation": config.batch_size // batch}
  for batch in _halves(config.batch_size, parts * config.accumulation):
    yield settings | {"batch_size": batch}


def search_largest_batch(
  config, kind: str, topology: Topology
) -> list[LargestBatch]:
  """The largest batch per device under each remat policy and mesh.

  Batches are doubled or halved from the config's, those of stronger policies
  from that of the weaker one.

  Args:
    config: the experiment; its axis "tensor" stays.
    kind: "train" or "sample".
    topology: what to compile for.

  Raises:
    UsageError: see `examine`.
  """
  devices = len(topology.devices)
  data, fsdp, tensor = _mesh(config, devices)
  key = "batch_size" if kind == "train" else "sampling.batch_size"
  first = _get(config, key) // (data * fsdp)
  sizes = (1, *_fsdp_sizes(config, devices)) if kind == "train" else (fsdp,)
  policies = REMAT if kind == "train" and "remat" in config.model else ("",)
  found = []
  with tqdm(
    total=len(sizes) * len(policies), desc="searching", unit="setting"
  ) as bar:
    for size in sizes:
      start = max(1, first)
      for policy in policies:
        settings = {"mesh.data": -1, "mesh.fsdp": size}
        if policy:
          settings["model.remat"] = policy
        if config.accumulation > 1:
          settings["accumulation"] = 1
        bar.set_postfix_str(flags(settings))

        def fit(batch, settings=settings):
          whole = {key: batch * devices // tensor}
          report = compile_report(
            _changed(config, settings | whole), kind, topology
          )
          return report if report.fits else None

        batch, report = largest_fit(fit, start)
        found.append(LargestBatch(settings, batch, report))
        start = max(start, batch)
        bar.update()
  return found


def largest_fit(fit, start: int) -> tuple[int, Any]:
  """The largest of start times a power of two that fits, with what fit gave.

  Args:
    fit: batch -> something, or None where it does not fit.
    start: the first batch to try; halved as far as 1.
  """
  batch, found = start, fit(start)
  if found is None:
    while found is None and batch > 1:
      batch //= 2
      found = fit(batch)
    return (batch, found) if found is not None else (0, None)
  while (more := fit(2 * batch)) is not None:
    batch, found = 2 * batch, more
  return batch, found


def _changed(config, settings: dict[str, Any]):
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict(settings)
  return changed


def _get(config, path: str):
  for key in path.split("."):
    config = config[key]
  return config


def _mesh(config, devices: int) -> list[int]:
  sizes = [config.mesh[axis] for axis in AXES]
  if -1 in sizes:
    sizes[sizes.index(-1)] = devices // -math.prod(sizes)
  return sizes


def _fsdp_sizes(config, devices: int) -> list[int]:
  rest = devices // _mesh(config, devices)[2]
  return [size for size in FSDP if size <= rest and rest % size == 0]


def _stronger(config) -> tuple[str, ...]:
  now = config.model.get("remat")
  return REMAT[REMAT.index(now) + 1 :] if now in REMAT else ()


def _halves(batch: int, parts: int) -> Iterator[int]:
  while batch % 2 == 0 and batch // 2 % parts == 0:
    batch //= 2
    yield batch
