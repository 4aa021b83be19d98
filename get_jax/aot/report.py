"""Reports memory, collectives and a roofline estimate of a compiled step."""

import dataclasses
import time

import jax
import ml_collections

from get_jax.aot import hlo
from get_jax.aot.collectives import (
  Collective,
  find_collectives,
  totals_by_kind,
)
from get_jax.aot.lower import count_operations, lower_step, with_model_fields
from get_jax.aot.memory import (
  Memory,
  OutOfMemory,
  compile_program,
  read_memory,
)
from get_jax.aot.roofline import Roofline, estimate_roofline
from get_jax.hardware.topology import Topology

NUM_LARGEST = 10  # collectives that a report lists individually


@dataclasses.dataclass(frozen=True)
class CompileReport:
  """Report on a compiled step; bytes and seconds are those of one device.

  Attributes:
    fits: whether the step fits in the memory of the device.
    state: bytes of the whole state.
    arguments: bytes of one device's shards of state and batch.
    memory: memory of the program; None if the step does not compile for lack
      of memory.
    needed: bytes in use at once; None if the step does not compile and the
      compiler does not report them.
    available: bytes of memory of the device.
    operations: operations that the step needs over all devices; None if they
      depend on data.
    operations_done: operations that the step executes, including those that
      the backward pass recomputes.
    collectives: by kind, see `totals_by_kind`.
    largest: collectives that send the most: kind, bytes per run, runs, and the
      operation of the model.
    unbounded: number of loops whose trip count is decided at run time; their
      bodies count as run once.
    roofline: None if `memory` or `operations` is None.
    images: number of images in a step.
    seconds: wall time of tracing and compiling.
    cpu_seconds: CPU time of tracing and compiling.
  """

  fits: bool
  state: int
  arguments: int
  memory: Memory | None
  needed: float | None
  available: float
  operations: int | None
  operations_done: int | None
  collectives: dict[str, dict[str, int]]
  largest: list[tuple[str, int, int, str]]
  unbounded: int
  roofline: Roofline | None
  images: int
  seconds: float
  cpu_seconds: float


def compile_report(
  config: ml_collections.ConfigDict, step: str, topology: Topology
) -> CompileReport:
  """Compiles a step for a topology and reports on it.

  Args:
    config: the experiment.
    step: "train" or "sample".
    topology: topology to compile for.

  Raises:
    UsageError: the settings contradict each other or the topology.
  """
  start, cpu_start = time.perf_counter(), time.process_time()
  if topology.chip.platform == "cuda":
    # Compiling cuDNN's attention requires cuDNN.
    config = with_model_fields(config, attention="xla")
  lowered = lower_step(config, step, topology.devices)
  operations: int | None
  executed: int | None
  try:
    operations, executed = count_operations(config, step)
  except NotImplementedError:
    operations = executed = None
  memory: Memory | None = None
  collectives: list[Collective] = []
  unbounded_loops = 0
  try:
    compiled = compile_program(lowered.lowered, topology.chip.compiler_options)
  except OutOfMemory as error:
    needed = error.needed
  else:
    memory = read_memory(compiled)
    needed = memory.peak
    program = hlo.parse(compiled.as_text() or "")
    collectives = find_collectives(program, lowered.mesh.size)
    unbounded_loops = program.unbounded_loops
  jax.clear_caches()  # A search compiles many programs.
  roofline = None
  if memory is not None and executed is not None and lowered.passes is not None:
    traffic = memory.arguments + 2 * memory.temporaries + memory.outputs
    if step == "train":  # The new state is written over the old one.
      traffic += memory.arguments
    roofline = estimate_roofline(
      topology,
      list(lowered.mesh.devices.flat),
      executed / lowered.mesh.size,
      lowered.passes * traffic,
      collectives,
    )
  by_size = sorted(collectives, key=lambda c: -c.bytes * c.runs)
  return CompileReport(
    fits=memory is not None and memory.peak <= topology.memory,
    state=lowered.state,
    arguments=lowered.arguments,
    memory=memory,
    needed=needed,
    available=topology.memory,
    operations=operations,
    operations_done=executed,
    collectives=totals_by_kind(collectives),
    largest=[
      (c.kind, c.bytes, c.runs, c.op_name) for c in by_size[:NUM_LARGEST]
    ],
    unbounded=unbounded_loops,
    roofline=roofline,
    images=lowered.images,
    seconds=time.perf_counter() - start,
    cpu_seconds=time.process_time() - cpu_start,
  )
