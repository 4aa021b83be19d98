"""Memory of one device in a compiled step, or how much it lacks."""

import dataclasses
import re

import jax

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
QUANTITY = r"([\d.]+)([KMGT]?)i?B?"


@dataclasses.dataclass(frozen=True)
class Memory:
  """Bytes on one device, by kind.

  Attributes:
    arguments: state and batch, or parameters.
    outputs: results that do not take an argument's place.
    temporaries: what is alive in between; some of it lies where arguments were.
    code: the program.
    peak: the most that is in use at once.
  """

  arguments: int
  outputs: int
  temporaries: int
  code: int
  peak: int


class OutOfMemory(Exception):
  """A program does not fit its device.

  Attributes:
    needed: bytes in use at once, as the compiler tells; None if it does not.
  """

  def __init__(self, message: str):
    super().__init__(message)
    self.needed = _needed(message)


def compile_program(
  lowered: jax.stages.Lowered, options: dict | None = None
) -> jax.stages.Compiled:
  """Compiles.

  Args:
    lowered: the program.
    options: of the compiler.

  Raises:
    OutOfMemory: the compiler says that the device has not enough memory.
  """
  try:
    return lowered.compile(options)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise OutOfMemory(str(error)) from error


def read_memory(compiled: jax.stages.Compiled) -> Memory:
  """The memory of a compiled program, as its compiler tells."""
  found = compiled.memory_analysis()
  return Memory(
    found.argument_size_in_bytes,
    found.output_size_in_bytes - found.alias_size_in_bytes,
    found.temp_size_in_bytes,
    found.generated_code_size_in_bytes,
    found.peak_memory_in_bytes,
  )


def _needed(message: str) -> float | None:
  """Reads the words of the TPU's compiler."""
  for pattern in (
    rf"total memory required for HLO temporaries \({QUANTITY}\)",
    rf"Used {QUANTITY} of {QUANTITY} hbm",
  ):
    if match := re.search(pattern, message):
      return float(match[1]) * UNITS[match[2]]
  return None
