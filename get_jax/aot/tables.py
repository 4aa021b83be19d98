"""Formats compile reports as tables for the terminal."""

import dataclasses
from collections.abc import Sequence

from rich.table import Table

from get_jax.aot.fit_search import LargestBatch
from get_jax.aot.report import CompileReport
from get_jax.aot.roofline import BANDWIDTH, COMPUTE

_GIB = 2**30
_MIB = 2**20


def report_table(title: str, report: CompileReport) -> Table:
  """Returns the table of one compile report."""
  table = Table("quantity", "value", title=title)
  table.columns[1].justify = "right"
  table.add_row("state, all devices together", format_bytes(report.state))
  memory = {"arguments": report.arguments}
  if report.memory is not None:
    memory = dataclasses.asdict(report.memory)
  for name, size in memory.items():
    table.add_row(f"memory per device: {name}", format_bytes(size))
  table.add_row("memory per device: available", format_bytes(report.available))
  if report.operations is not None and report.operations_done is not None:
    recomputed = report.operations_done - report.operations
    for name, count in (
      ("operations per step", report.operations),
      ("operations recomputed in the backward pass", recomputed),
    ):
      table.add_row(name, f"{count / 1e12:.4g} T")
  for kind, row in report.collectives.items():
    table.add_row(
      f"{kind}: count in program, runs per step, bytes per step",
      f"{row['count']}, {row['runs']}, {format_bytes(row['bytes'])}",
    )
  if report.unbounded:
    table.add_row(
      "loops of unknown trip count (counted as one trip)",
      f"{report.unbounded}",
    )
  if (roofline := report.roofline) is not None:
    for name, seconds in (
      (f"compute at {COMPUTE:.0%} of peak", roofline.compute),
      (f"memory traffic at {BANDWIDTH:.0%} of bandwidth", roofline.memory),
      (
        f"collectives at {BANDWIDTH:.0%} of link bandwidth",
        roofline.sending,
      ),
      ("step, all collectives overlapped", roofline.overlapped),
      ("step, no collectives overlapped", roofline.serial),
    ):
      table.add_row(f"estimate: {name}", f"{seconds * 1e3:,.1f} ms")
    low, high = roofline.efficiency
    table.add_row("estimate: scaling efficiency", f"{low:.0%} to {high:.0%}")
    table.add_row("estimate: images per second", images_per_second(report))
  table.add_row(
    "tracing and compiling",
    f"{report.seconds:.0f} s ({report.cpu_seconds:.0f} s CPU time)",
  )
  return table


def search_table(title: str, results: Sequence[LargestBatch]) -> Table:
  """Returns the table of a search for the largest batch."""
  table = Table(
    "settings", "images per device", "memory", "images/s", title=title
  )
  table.columns[0].overflow = "fold"
  for column in table.columns[1:]:
    column.justify, column.no_wrap = "right", True
  largest = max(result.batch for result in results)
  for result in results:
    memory = rate = ""
    if (report := result.report) is not None:
      available = format_bytes(report.available)
      memory = f"{format_bytes(report.needed)} of {available}"
      rate = images_per_second(report)
    table.add_row(
      " ".join(f"{path}={value}" for path, value in result.settings.items()),
      f"{result.batch}{' (largest)' if result.batch == largest else ''}",
      memory,
      rate,
    )
  return table


def images_per_second(report: CompileReport) -> str:
  """Returns the estimated range of images per second; "" if unknown."""
  if (roofline := report.roofline) is None:
    return ""
  slow = report.images / roofline.serial
  fast = report.images / roofline.overlapped
  return f"{slow:,.0f} to {fast:,.0f}"


def format_bytes(size: float | None) -> str:
  """Returns a size in MiB or GiB; "unknown" for None."""
  if size is None:
    return "unknown"
  if abs(size) < _GIB:
    return f"{size / _MIB:.1f} MiB"
  return f"{size / _GIB:.2f} GiB"
