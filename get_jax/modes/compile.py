"""--mode=compile: a step for hardware that is not there."""

import dataclasses

from rich.console import Console
from rich.table import Table

from get_jax.aot import fit_search
from get_jax.aot.report import CompileReport, compile_report
from get_jax.aot.roofline import BANDWIDTH, COMPUTE
from get_jax.builders.sections import check_task
from get_jax.errors import UsageError
from get_jax.hardware.topology import Topology, find_topology
from get_jax.training.workdir import open_workdir, write_results

GIB = 2**30


def run(
  config,
  workdir: str | None,
  topology: str | None = None,
  num_slices: int = 1,
  step: str = "train",
  search: bool = False,
) -> None:
  """Prints whether a step fits a topology, and what it does there.

  Where it does not fit, the first setting that makes it fit is told. With a
  workdir the figures are left in results/compile.json too.

  Args:
    config: the experiment.
    workdir: of the run, or None.
    topology: see `find_topology`.
    num_slices: see there.
    step: "train" or "sample".
    search: look for the largest batch instead.

  Raises:
    UsageError: no or no such topology, or settings that contradict it.
  """
  if topology is None:
    raise UsageError("--topology is missing; expected a pod such as v5e:4x4")
  check_task(config)
  folder = None if workdir is None else open_workdir(workdir, config)
  pod = find_topology(topology, num_slices)
  show = _search if search else _report
  title = f"{config.model.name}, {step}, {pod}"
  figures = show(config, step, pod, title)
  if folder is not None:
    told = {"topology": str(pod), "step": step}
    write_results(folder, "compile", told | figures)


def _report(config, step: str, pod: Topology, title: str) -> dict:
  console = Console()
  report = compile_report(config, step, pod)
  console.print(_report_table(title, report))
  figures = dataclasses.asdict(report)
  if report.fits:
    left = report.available - report.needed
    console.print(f"Fits, with {_size(left)} of a device's memory left.")
    return figures
  needed = "more" if report.needed is None else _size(report.needed)
  console.print(
    f"Does not fit: it needs {needed}, a device has {_size(report.available)}."
  )
  found = fit_search.find_fitting_settings(config, step, pod)
  if found is None:
    console.print("No setting that was tried makes it fit.")
    return figures | {"fitting_settings": None}
  settings, mended = found
  left = mended.available - mended.needed
  console.print(
    f"With {fit_search.flags(settings)} it fits: it needs "
    f"{_size(mended.needed)}, {_size(left)} are left."
  )
  return figures | {
    "fitting_settings": settings,
    "with_fitting_settings": dataclasses.asdict(mended),
  }


def _search(config, step: str, pod: Topology, title: str) -> dict:
  found = fit_search.search_largest_batch(config, step, pod)
  table = Table(
    "settings", "images a device", "memory", "images/s", title=title
  )
  table.columns[0].overflow = "fold"
  for column in table.columns[1:]:
    column.justify, column.no_wrap = "right", True
  most = max(one.batch for one in found)
  for one in found:
    memory = rate = ""
    if one.report is not None:
      memory = f"{_size(one.report.needed)} of {_size(one.report.available)}"
      rate = _rate(one.report)
    table.add_row(
      " ".join(f"{path}={value}" for path, value in one.settings.items()),
      f"{one.batch}{' (most)' if one.batch == most else ''}",
      memory,
      rate,
    )
  Console().print(table)
  return {"search": [dataclasses.asdict(one) for one in found]}


def _report_table(title: str, report: CompileReport) -> Table:
  table = Table("figure", "value", title=title)
  table.columns[1].justify = "right"
  table.add_row("state of all devices", _size(report.state))
  kinds = {"arguments": report.arguments}
  if report.memory is not None:
    kinds = dataclasses.asdict(report.memory)
  for kind, size in kinds.items():
    table.add_row(f"memory of a device: {kind}", _size(size))
  table.add_row("memory of a device: all there is", _size(report.available))
  if report.operations is not None:
    table.add_row("operations of a step", f"{report.operations / 1e12:.4g} T")
    again = report.operations_done - report.operations
    table.add_row("computed again for the gradient", f"{again / 1e12:.4g} T")
  for kind, row in report.collectives.items():
    table.add_row(
      f"{kind}: in the program, run, bytes",
      f"{row['count']}, {row['runs']}, {_size(row['bytes'])}",
    )
  if report.unbounded:
    table.add_row(
      "loops of unknown length, counted once", f"{report.unbounded}"
    )
  if (line := report.roofline) is not None:
    for label, seconds in (
      (f"products at {COMPUTE:.0%} of the peak", line.compute),
      (f"memory at {BANDWIDTH:.0%} of its bandwidth", line.memory),
      (f"sending at {BANDWIDTH:.0%} of the links'", line.sending),
      ("step, all sending overlapped", line.overlapped),
      ("step, none overlapped", line.serial),
    ):
      table.add_row(f"estimate: {label}", f"{seconds * 1e3:,.1f} ms")
    low, high = line.efficiency
    table.add_row("estimate: scaling efficiency", f"{low:.0%} to {high:.0%}")
    table.add_row("estimate: images a second", _rate(report))
  table.add_row(
    "tracing and compiling",
    f"{report.seconds:.0f} s ({report.cpu_seconds:.0f} s of CPU)",
  )
  return table


def _size(size: float) -> str:
  if abs(size) < GIB:
    return f"{size / 2**20:.1f} MiB"
  return f"{size / GIB:.2f} GiB"


def _rate(report: CompileReport) -> str:
  if (line := report.roofline) is None:
    return ""
  slow, fast = report.images / line.serial, report.images / line.overlapped
  return f"{slow:,.0f} to {fast:,.0f}"
