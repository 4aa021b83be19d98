"""Memory of a compiled program, and of one that does not fit."""

import jax
import jax.numpy as jnp
import pytest

from get_jax.aot.memory import (
  OutOfMemory,
  compile_program,
  read_memory,
)


def test_memory_of_a_program():
  shape = jax.ShapeDtypeStruct((256, 256), jnp.float32)

  def step(x, y):
    return x + 1.0, jnp.tanh(x @ y) @ y

  lowered = jax.jit(step, donate_argnums=0).lower(shape, shape)
  memory = read_memory(compile_program(lowered))
  array = 4 * 256 * 256
  assert memory.arguments == 2 * array
  # The first result takes the place of the first argument.
  assert array <= memory.outputs < 1.1 * array
  assert memory.temporaries >= array
  assert memory.peak >= 3 * array


class Failing:
  def __init__(self, message):
    self.message = message

  def compile(self, options):
    raise jax.errors.JaxRuntimeError(self.message)


@pytest.mark.parametrize(
  ("message", "needed"),
  [
    (
      "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
      "for HLO temporaries (27.87G) exceeds available HBM (15.75G).",
      27.87 * 2**30,
    ),
    (
      "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory "
      "in memory space hbm. Used 31.24G of 15.75G hbm. Exceeded hbm capacity "
      "by 15.49G.",
      31.24 * 2**30,
    ),
    ("RESOURCE_EXHAUSTED: in other words", None),
  ],
)
def test_a_shortage_says_what_was_needed(message, needed):
  with pytest.raises(OutOfMemory) as caught:
    compile_program(Failing(message))
  assert caught.value.needed == needed


def test_other_failures_are_not_shortages():
  with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
    compile_program(Failing("INTERNAL: a bug"))
