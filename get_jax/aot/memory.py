"""Memory use of a compiled program on one device, or its shortage."""

import dataclasses
import re

import jax

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_QUANTITY = r"([\d.]+)([KMGT]?)i?B?"


@dataclasses.dataclass(frozen=True)
class Memory:
  """Memory of a program on one device, in bytes.

  Attributes:
    arguments: state and batch, or parameters.
    outputs: results that do not reuse the buffer of an argument.
    temporaries: intermediate values; some may reuse buffers of arguments.
    code: the program itself.
    peak: maximum in use at once.
  """

  arguments: int
  outputs: int
  temporaries: int
  code: int
  peak: int


class OutOfMemory(Exception):
  """Raised when a program does not fit in the memory of its device.

  Attributes:
    needed: bytes in use at once, as the compiler reports; None if it does not
      report them.
  """

  def __init__(self, message: str):
    super().__init__(message)
    self.needed = _parse_needed(message)


def compile_program(
  lowered: jax.stages.Lowered, options: dict | None = None
) -> jax.stages.Compiled:
  """Compiles a lowered program.

  Args:
    lowered: the program.
    options: options of the compiler.

  Raises:
    OutOfMemory: the compiler reports that the device has too little memory.
  """
  try:
    return lowered.compile(options)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise OutOfMemory(str(error)) from error


def read_memory(compiled: jax.stages.Compiled) -> Memory:
  """Returns the memory of a compiled program, as its compiler reports it.

  Raises:
    NotImplementedError: the compiler does not report memory.
  """
  stats = compiled.memory_analysis()
  if stats is None:
    raise NotImplementedError("this compiler does not report memory")
  return Memory(
    stats.argument_size_in_bytes,
    stats.output_size_in_bytes - stats.alias_size_in_bytes,
    stats.temp_size_in_bytes,
    stats.generated_code_size_in_bytes,
    stats.peak_memory_in_bytes,
  )


def _parse_needed(message: str) -> float | None:
  """Parses the bytes needed from an error of the TPU compiler."""
  for pattern in (
    rf"total memory required for HLO temporaries \({_QUANTITY}\)",
    rf"Used {_QUANTITY} of {_QUANTITY} hbm",
  ):
    if match := re.search(pattern, message):
      return float(match[1]) * _UNITS[match[2]]
  return None
