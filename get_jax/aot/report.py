"""What compiling a step for a topology tells of it."""

import dataclasses
import time

import jax

from get_jax.aot import hlo
from get_jax.aot.collectives import find_collectives, totals
from get_jax.aot.lower import count_operations, lower_step, with_fields
from get_jax.aot.memory import (
  Memory,
  OutOfMemory,
  compile_program,
  read_memory,
)
from get_jax.aot.roofline import Roofline, estimate
from get_jax.hardware.topology import Topology

LARGEST = 10  # collectives that a report names one by one


@dataclasses.dataclass(frozen=True)
class CompileReport:
  """What compiling a step tells. Bytes and seconds are those of one device.

  Attributes:
    fits: whether the device's memory holds it.
    state: bytes of the whole state.
    arguments: bytes of one device's part of state and batch.
    memory: None where the compiler gave up.
    needed: bytes in use at once; None where the compiler gave up and does not
      tell.
    available: bytes of memory.
    operations: of the step over all devices; None where they depend on data.
    operations_done: with what the backward pass computes again.
    collectives: by kind, see `totals`.
    largest: those that send the most: kind, bytes each time, runs, and the
      place in the model.
    unbounded: loops whose number of turns only a run decides; what is in them
      is counted once.
    roofline: None where operations are.
    images: in a step.
    seconds: of tracing and compiling.
    cpu_seconds: likewise.
  """

  fits: bool
  state: int
  arguments: int
  memory: Memory | None
  needed: float | None
  available: float
  operations: int | None
  operations_done: int | None
  collectives: dict
  largest: list[tuple[str, int, int, str]]
  unbounded: int
  roofline: Roofline | None
  images: int
  seconds: float
  cpu_seconds: float


def compile_report(config, kind: str, topology: Topology) -> CompileReport:
  """Compiles a step and reads what came out.

  Args:
    config: the experiment.
    kind: "train" or "sample".
    topology: what to compile for.

  Raises:
    UsageError: the settings contradict each other or the topology.
  """
  start, cpu = time.perf_counter(), time.process_time()
  if (
    topology.chip.platform == "cuda"
  ):  # cuDNN must be there to be compiled for.
    config = with_fields(config, attention="xla")
  step = lower_step(config, kind, topology.devices)
  try:
    counted = count_operations(config, kind)
  except NotImplementedError:
    counted = None, None
  memory, roofline, sends, unbounded = None, None, [], 0
  try:
    compiled = compile_program(step.lowered, topology.chip.options)
  except OutOfMemory as shortage:
    needed = shortage.needed
  else:
    memory = read_memory(compiled)
    needed = memory.peak
    program = hlo.parse(compiled.as_text())
    sends = find_collectives(program, step.mesh.size)
    unbounded = program.unbounded
  jax.clear_caches()  # Searches compile many.
  if memory is not None and counted[0] is not None:
    touched = memory.arguments + 2 * memory.temporaries + memory.outputs
    if kind == "train":  # The new state lies where the old one was.
      touched += memory.arguments
    each = counted[1] / step.mesh.size
    devices = list(step.mesh.devices.flat)
    roofline = estimate(topology, devices, each, step.passes * touched, sends)
  first = sorted(sends, key=lambda c: -c.bytes * c.runs)[:LARGEST]
  return CompileReport(
    fits=memory is not None and memory.peak <= topology.memory,
    state=step.state,
    arguments=step.arguments,
    memory=memory,
    needed=needed,
    available=topology.memory,
    operations=counted[0],
    operations_done=counted[1],
    collectives=totals(sends),
    largest=[(c.kind, c.bytes, c.runs, c.where) for c in first],
    unbounded=unbounded,
    roofline=roofline,
    images=step.images,
    seconds=time.perf_counter() - start,
    cpu_seconds=time.process_time() - cpu,
  )
