"""--mode=compile: compiles a step for other hardware and reports on it."""

import dataclasses

import ml_collections
from rich.console import Console

from get_jax.aot.fit_search import (
  find_fitting_settings,
  format_flags,
  search_largest_batch,
)
from get_jax.aot.report import CompileReport, compile_report
from get_jax.aot.tables import format_bytes, report_table, search_table
from get_jax.builders.tasks import check_task
from get_jax.errors import UsageError
from get_jax.hardware.topology import Topology, find_topology
from get_jax.progress import print_ending
from get_jax.training.workdir import open_workdir, write_results


def run(
  config: ml_collections.ConfigDict,
  workdir: str | None,
  topology: str | None = None,
  num_slices: int = 1,
  step: str = "train",
  search: bool = False,
) -> None:
  """Compiles a step for a topology and prints what it needs.

  If the step does not fit in memory, the first settings that make it fit are
  searched and printed. With a workdir the figures are also written to
  results/compile.json.

  Args:
    config: the experiment.
    workdir: directory of the run, or None.
    topology: see `find_topology`.
    num_slices: see `find_topology`.
    step: "train" or "sample".
    search: searches for the largest batch instead.

  Raises:
    UsageError: the topology is missing or unknown, or the settings contradict
      it.
  """
  if topology is None:
    raise UsageError("--topology is missing; expected a pod such as v5e:4x4")
  check_task(config)
  folder = None if workdir is None else open_workdir(workdir, config)
  devices = find_topology(topology, num_slices)
  title = f"{config.model.name}, {step}, {devices}"
  show = _show_search if search else _show_report
  figures = show(config, step, devices, title)
  if folder is not None:
    arguments = {"topology": str(devices), "step": step}
    write_results(folder, "compile", arguments | figures)
    path = folder / "results" / "compile.json"
    print_ending("Finished", f"figures in {path}")


def _show_report(
  config: ml_collections.ConfigDict, step: str, topology: Topology, title: str
) -> dict:
  """Prints the report of a step; returns its figures for the results."""
  console = Console()
  report = compile_report(config, step, topology)
  console.print(report_table(title, report))
  figures = dataclasses.asdict(report)
  if report.fits:
    console.print(f"Fits, with {_unused(report)} of memory per device unused.")
    return figures
  needed = "more" if report.needed is None else format_bytes(report.needed)
  console.print(
    f"Does not fit: the step needs {needed} per device; "
    f"{format_bytes(report.available)} are available."
  )
  found = find_fitting_settings(config, step, topology)
  if found is None:
    console.print("None of the settings that were tried makes it fit.")
    return figures | {"fitting_settings": None}
  settings, fitting = found
  console.print(
    f"To make it fit, try {format_flags(settings)}: it then needs "
    f"{format_bytes(fitting.needed)} per device, {_unused(fitting)} are unused."
  )
  return figures | {
    "fitting_settings": settings,
    "with_fitting_settings": dataclasses.asdict(fitting),
  }


def _show_search(
  config: ml_collections.ConfigDict, step: str, topology: Topology, title: str
) -> dict:
  """Prints the largest batches; returns the figures for the results."""
  results = search_largest_batch(config, step, topology)
  Console().print(search_table(title, results))
  return {"search": [dataclasses.asdict(result) for result in results]}


def _unused(report: CompileReport) -> str:
  """Returns the memory per device that a step which fits leaves unused."""
  return format_bytes(report.available - (report.needed or 0))
