"""Gradients of an equilibrium layer by iterations: time and memory.

Time is that of a forward and a backward pass of a GET. Memory is the compiler's
figure for temporaries, also in sizes of the state.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks import random_params
from timing import Cases, Row, Scale, medians, time_alternately

from get_jax.aot.memory import read_memory
from get_jax.equilibrium import Implicit, Phantom, Simple, Unrolled
from get_jax.models import create_model


def gradients(steps: int) -> dict[str, Any]:
  """Returns the gradients by name.

  Args:
    steps: iterations of the backward pass of the implicit one.
  """
  return {
    "unrolled": Unrolled(),
    "checkpointed": Unrolled(policy="nothing_saveable"),
    "phantom, 5 steps": Phantom(5, 0.5),
    "implicit": Implicit(Simple(steps)),
  }


def cases(scale: Scale) -> Cases:
  """Returns one case per number of iterations."""
  counts = scale.select(
    paper=(6, 12, 24, 48, 96), small=(6, 12, 24, 48, 96), tiny=(2,)
  )
  return {
    f"{count} iterations": functools.partial(rows, count, scale)
    for count in counts
  }


def rows(steps: int, scale: Scale) -> list[Row]:
  """Returns one row per gradient."""
  name, batch, fields = scale.select(
    paper=("GET-B/2", 32, {}),
    small=("GET-T/2", 1, dict(image_size=16, equilibrium_depth=1)),
    tiny=(
      "GET-T/2",
      1,
      dict(
        image_size=8,
        hidden_size=32,
        num_heads=2,
        injection_depth=1,
        equilibrium_depth=1,
      ),
    ),
  )
  functions, memory = {}, {}
  params: Any = None  # the same for all gradients
  for label, gradient in gradients(steps).items():
    model = create_model(
      name, dtype=scale.dtype, solver=Simple(), gradient=gradient, **fields
    )
    params = params or jax.device_put(random_params(model))
    images = model.inputs(batch)[0]
    assert images is not None
    noise = jax.random.normal(jax.random.key(1), images.shape)
    state = (batch, *model.state_shape)
    z0 = jax.random.normal(jax.random.key(2), state)

    def loss(params, noise, z0, model=model):
      out = model.apply({"params": params}, noise, None, z0, steps)
      return jnp.mean(jnp.abs(out))

    program = jax.jit(jax.grad(loss)).lower(params, noise, z0).compile()
    memory[label] = read_memory(program).temporaries
    functions[label] = functools.partial(program, params, noise, z0)
  seconds = medians(time_alternately(functions, scale.repeats))
  size = 4 * float(np.prod(state))
  return [
    {
      "network": name + "".join(f", {k}={v}" for k, v in fields.items()),
      "batch": batch,
      "iterations": steps,
      "gradient": label,
      "ms": 1e3 * seconds[label],
      "time over unrolled": seconds[label] / seconds["unrolled"],
      "temporaries, MiB": memory[label] / 2**20,
      "in states": memory[label] / size,
    }
    for label in functions
  ]
