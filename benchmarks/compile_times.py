"""Compile times of training steps: tracing, lowering, compiling.

Times are CPU seconds of this process for the gradient of a network at batch 8,
without a compilation cache. Nothing is run.
"""

import functools
import itertools
import time
from typing import Any

import jax
import jax.numpy as jnp
from timing import Cases, Row, Scale

from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

Choice = tuple[str, dict[str, Any]]
SMALL: tuple[Choice, ...] = (
  ("DiT-XL/2", dict(scan=True)),
  ("DiT-S/2", dict(scan=True)),
  ("DiT-S/2", dict(scan=False)),
  ("U-ViT-S/2", dict(scan=True)),
  ("U-ViT-S/2", dict(scan=False)),
  ("GET-B/2", dict(scan=True)),
  ("GET-B/2", dict(scan=False)),
  ("ViT-B/2", dict(scan=True)),
  ("iMF-B/2", dict(scan=True)),
  ("DiffiT-CIFAR-10", dict(scan=True)),
  ("DDPM++-32", {}),
)
TINY: tuple[Choice, ...] = (
  ("DiT-S/8", dict(depth=1, hidden_size=32, num_heads=2)),
)


def cases(scale: Scale) -> Cases:
  """Returns one case per network."""
  choices = scale.select(
    paper=(*SMALL, ("DiT-XL/2", dict(scan=False))), small=SMALL, tiny=TINY
  )
  return {
    f"{name}, {fields}": functools.partial(rows, name, fields, scale)
    for name, fields in choices
  }


def rows(name: str, fields: dict[str, Any], scale: Scale) -> list[Row]:
  """Returns one row."""
  model = create_model(name, dtype=scale.dtype, **fields)
  params = abstract_params(model)

  def loss(params, inputs, scalars):
    out = model.apply({"params": params}, *inputs, **scalars)
    return jnp.mean(jnp.square(jnp.asarray(out)))

  step = jax.jit(jax.grad(loss))
  inputs = model.inputs(8), model.scalar_inputs(8)
  clock = [time.process_time()]
  traced = step.trace(params, *inputs)
  clock.append(time.process_time())
  lowered = traced.lower()
  clock.append(time.process_time())
  lowered.compile()
  clock.append(time.process_time())
  trace, lower, compiling = (b - a for a, b in itertools.pairwise(clock))
  return [
    {
      "network": name,
      "fields": ", ".join(f"{k}={v}" for k, v in fields.items()),
      "trace, s": trace,
      "lower, s": lower,
      "compile, s": compiling,
      "together, s": clock[-1] - clock[0],
    }
  ]
