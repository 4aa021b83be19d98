"""--mode=compile: a step for hardware that is not there."""

import dataclasses
import time

from rich.console import Console
from rich.table import Table

from get_jax.errors import UsageError
from get_jax.hardware import hlo
from get_jax.hardware.collectives import find_collectives, totals
from get_jax.hardware.memory import (
  Memory,
  Shortage,
  compile_program,
  read_memory,
)
from get_jax.hardware.roofline import (
  BANDWIDTH,
  COMPUTE,
  Roofline,
  estimate,
)
from get_jax.hardware.topology import Topology, find_topology
from get_jax.programs.build import check_task
from get_jax.programs.lowering import count_operations, lower_step
from get_jax.programs.workdir import open_workdir, write_results


@dataclasses.dataclass(frozen=True)
class Report:
  """What compiling a step tells. Bytes and seconds are those of one device.

  Attributes:
    fits: whether the device's memory holds it.
    state: bytes of the whole state.
    arguments: bytes of one device's part of state and batch.
    memory: None where the compiler gave up.
    available: bytes of memory.
    lacking: what the compiler said where it gave up.
    operations: of the step over all devices; None where they depend on data.
    operations_done: with what the backward pass computes again.
    collectives: by kind, see `totals`.
    roofline: None where operations are.
    images: in a step.
    seconds: of tracing and compiling.
    cpu_seconds: likewise.
  """

  fits: bool
  state: int
  arguments: int
  memory: Memory | None
  available: float
  lacking: str
  operations: int | None
  operations_done: int | None
  collectives: dict
  roofline: Roofline | None
  images: int
  seconds: float
  cpu_seconds: float


def examine(config, kind: str, topology: Topology) -> Report:
  """Compiles a step and reads what came out.

  Args:
    config: the experiment.
    kind: "train" or "sample".
    topology: what to compile for.

  Raises:
    UsageError: the settings contradict each other or the topology.
  """
  start, cpu = time.perf_counter(), time.process_time()
  step = lower_step(config, kind, topology.devices)
  try:
    counted = count_operations(config, kind)
  except NotImplementedError:
    counted = None, None
  memory, lacking, sends, found = None, "", [], {}
  try:
    compiled = compile_program(step.lowered)
  except Shortage as shortage:
    lacking = str(shortage)
  else:
    memory = read_memory(compiled)
    sends = find_collectives(hlo.parse(compiled.as_text()), step.mesh.size)
    found = totals(sends)
  roofline = None
  if memory is not None and counted[0] is not None:
    touched = memory.arguments + memory.outputs + 2 * memory.temporaries
    each = counted[1] / step.mesh.size
    roofline = estimate(topology, each, touched, sends)
  return Report(
    fits=memory is not None and memory.total <= topology.memory,
    state=step.state,
    arguments=step.arguments,
    memory=memory,
    available=topology.memory,
    lacking=lacking,
    operations=counted[0],
    operations_done=counted[1],
    collectives=found,
    roofline=roofline,
    images=step.images,
    seconds=time.perf_counter() - start,
    cpu_seconds=time.process_time() - cpu,
  )


def run(
  config,
  workdir: str | None,
  topology: str | None = None,
  num_slices: int = 1,
  step: str = "train",
) -> None:
  """Prints whether a step fits a topology, and what it does there.

  With a workdir the figures are left in results/compile.json too.

  Raises:
    UsageError: no or no such topology, or settings that contradict it.
  """
  if topology is None:
    raise UsageError("--topology is missing; expected a pod such as v5e:4x4")
  check_task(config)
  found = find_topology(topology, num_slices)
  report = examine(config, step, found)
  console = Console()
  console.print(_table(f"{config.model.name}, {step} on {found}", report))
  console.print(_verdict(report))
  if workdir is not None:
    write_results(
      open_workdir(workdir, config),
      "compile",
      {"topology": str(found), "step": step, **dataclasses.asdict(report)},
    )


def _table(title: str, report: Report) -> Table:
  table = Table("figure", "value", title=title)
  table.columns[1].justify = "right"

  def gib(label, size):
    table.add_row(label, f"{size / 2**30:.2f} GiB")

  gib("state, whole", report.state)
  if report.memory is None:
    gib("memory of a device: arguments", report.arguments)
  else:
    for kind, size in dataclasses.asdict(report.memory).items():
      gib(f"memory of a device: {kind}", size)
    gib("memory of a device: left", report.available - report.memory.total)
  gib("memory of a device: all", report.available)
  if report.operations is not None:
    table.add_row("operations of a step", f"{report.operations / 1e12:.4g} T")
    again = report.operations_done - report.operations
    table.add_row("computed again for the gradient", f"{again / 1e12:.4g} T")
  for kind, row in report.collectives.items():
    table.add_row(
      f"{kind}: in the program, run, bytes",
      f"{row['count']}, {row['runs']}, {row['bytes'] / 2**20:,.1f} MiB",
    )
  if (line := report.roofline) is not None:
    for label, seconds in (
      (f"products at {COMPUTE:.0%} of the peak", line.compute),
      (f"memory at {BANDWIDTH:.0%} of its bandwidth", line.memory),
      (f"sending at {BANDWIDTH:.0%} of the links", line.sending),
      ("step, all sending overlapped", line.overlapped),
      ("step, none overlapped", line.serial),
    ):
      table.add_row(f"estimate: {label}", f"{seconds * 1e3:,.1f} ms")
    low, high = line.efficiency
    table.add_row("estimate: scaling efficiency", f"{low:.0%} to {high:.0%}")
    rates = (report.images / line.serial, report.images / line.overlapped)
    table.add_row(
      "estimate: images a second", "{:,.0f} to {:,.0f}".format(*rates)
    )
  table.add_row(
    "tracing and compiling",
    f"{report.seconds:.0f} s ({report.cpu_seconds:.0f} s of CPU)",
  )
  return table


def _verdict(report: Report) -> str:
  if report.fits:
    left = report.available - report.memory.total
    return f"Fits, with {left / 2**30:.2f} GiB of a device's memory left."
  if report.memory is None:
    return f"Does not fit: {report.lacking}"
  over = report.memory.total - report.available
  return f"Does not fit: {over / 2**30:.2f} GiB too much for a device."
