"""Cost of an equilibrium layer: memory, time and function evaluations.

  python benchmarks/equilibrium.py --json=equilibrium.json

prints three tables as Markdown and, with --json, writes them to a file. Memory
is reported by the compiler for the gradient of a training step, which is not
run, so no accelerator is needed. Time is that of a forward and a backward pass,
compared with a handwritten loop that computes nothing else; both run
alternately. Evaluations are counted on linear maps of spectral radius 0.95.
"""

import json
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from tables import markdown

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Implicit,
  JacobianFree,
  Phantom,
  Simple,
  Solution,
  Unrolled,
  fixed_point,
)
from get_jax.equilibrium.solvers import Solver
from get_jax.models import create_model
from get_jax.models import get as get_module
from get_jax.models.parameters import abstract_params, init_params

Row = dict[str, Any]

MODEL = flags.DEFINE_string("model", "GET-M/2", "Name of a GET.")
BATCH = flags.DEFINE_integer("batch", 8, "Batch size of the memory table.")
TIMED_BATCH = flags.DEFINE_integer(
  "timed_batch", 8, "Batch size of the time table."
)
STEPS = flags.DEFINE_multi_integer(
  "steps", [6, 24, 96], "Iterations of the memory table."
)
TIMED_STEPS = flags.DEFINE_integer(
  "timed_steps", 6, "Iterations of the time table."
)
REPEATS = flags.DEFINE_integer("repeats", 5, "Timed runs of the time table.")
TABLES = flags.DEFINE_multi_enum(
  "table",
  ["memory", "time", "evaluations"],
  ["memory", "time", "evaluations"],
  "Tables to make.",
)
JSON = flags.DEFINE_string("json", None, "File to write the tables to.")


def gradient_settings(steps: int) -> list[tuple[str, str, dict[str, Any]]]:
  """Returns the gradients of the memory table.

  Args:
    steps: iterations of the forward pass, and of an implicit backward pass.

  Returns:
    Name, equivalent settings of torchdeq, and fields of the model.
  """
  k = steps
  ift = f"f_max_iter={k}, ift=True, b_max_iter={k}"
  unrolled = f"f_max_iter=0, grad={k}"
  checkpointed_steps = Unrolled(policy="nothing_saveable")
  return [
    ("Implicit, Simple", ift, dict(gradient=Implicit(Simple(k)))),
    (
      "Implicit, Anderson(window=6)",
      f"{ift}, f_solver=b_solver=anderson",
      dict(
        solver=Anderson(k, window=6), gradient=Implicit(Anderson(k, window=6))
      ),
    ),
    ("JacobianFree", f"f_max_iter={k}, grad=1", dict(gradient=JacobianFree())),
    (
      "Phantom(5, 0.5)",
      f"f_max_iter={k}, grad=5, tau=0.5",
      dict(gradient=Phantom(5, 0.5)),
    ),
    ("Unrolled", unrolled, dict(gradient=Unrolled())),
    (
      "Unrolled, blocks checkpointed",
      f"{unrolled}, mem=True",
      dict(gradient=Unrolled(), remat="full"),
    ),
    ("Unrolled, steps checkpointed", "none", dict(gradient=checkpointed_steps)),
  ]


def training_step(model: nn.Module, steps: int, batch: int):
  """Returns the jitted gradient of an L1 loss.

  Args:
    model: a GET.
    steps: equilibrium iterations.
    batch: batch size, B.

  Returns:
    The function (params, noise, z0, target) -> gradient, and its abstract
    arguments.
  """

  def loss(params, noise, z0, target):
    images = model.apply({"params": params}, noise, None, z0, steps)
    return jnp.mean(jnp.abs(images - target))

  noise = jax.ShapeDtypeStruct((batch, 32, 32, 3), jnp.float32)
  z0 = jax.ShapeDtypeStruct((batch, *model.state_shape), jnp.float32)
  arguments = (abstract_params(model), noise, z0, noise)
  return jax.jit(jax.grad(loss)), arguments


def memory_table() -> list[Row]:
  """Returns temporary memory of a training step in MiB.

  There is one row per gradient and one column per number of iterations.
  """
  rows = []
  for index, (name, _, _) in enumerate(gradient_settings(STEPS.value[0])):
    row: Row = {"gradient": name}
    for steps in STEPS.value:
      _, row["torchdeq"], fields = gradient_settings(steps)[index]
      model = make_model(fields)
      step, arguments = training_step(model, steps, BATCH.value)
      analysis = step.lower(*arguments).compile().memory_analysis()
      row[f"{steps} iterations"] = analysis.temp_size_in_bytes / 2**20
      state_mib = BATCH.value * np.prod(model.state_shape) * 4 / 2**20
    first, last = STEPS.value[0], STEPS.value[-1]
    growth = row[f"{last} iterations"] - row[f"{first} iterations"]
    row["states an iteration"] = growth / (last - first) / state_mib
    row["torchdeq"] = row.pop("torchdeq").replace(str(last), "k")
    rows.append(row)
  return rows


def make_model(fields: dict[str, Any]) -> nn.Module:
  """Creates the GET of --model, with fixed-point iteration as default solver.

  Args:
    fields: fields of the model.
  """
  return create_model(MODEL.value, **{"solver": Simple(), **fields})


class HandwrittenSolution(NamedTuple):
  """Replaces `Solution`, without diagnostics."""

  value: jax.Array


def handwritten_fixed_point(
  f, params, x, z0, *, solver, gradient, **_
) -> HandwrittenSolution:
  """Replaces `fixed_point` by a minimal loop without diagnostics.

  The arguments are those of `fixed_point`.
  """
  steps = solver.max_steps

  def forward(params, x, z0):
    return jax.lax.fori_loop(0, steps, lambda _, z: f(params, x, z), z0)

  @jax.custom_vjp
  def implicit(params, x, z0):
    return forward(params, x, z0)

  def implicit_forward(params, x, z0):
    z = forward(params, x, z0)
    return z, (params, x, z)

  def implicit_backward(residuals, g):
    _, pullback = jax.vjp(f, *residuals)
    y = jax.lax.fori_loop(
      0, steps, lambda _, y: pullback(y)[2] + g, jnp.zeros_like(g)
    )
    d_params, d_x, _ = pullback(y)
    return d_params, d_x, jnp.zeros_like(g)

  implicit.defvjp(implicit_forward, implicit_backward)
  if isinstance(gradient, Implicit):
    value = implicit(params, x, z0)
  else:

    def iterate(z, _):
      return f(params, x, z), None

    value, _ = jax.lax.scan(iterate, z0, length=steps)
  return HandwrittenSolution(value)


def time_table(
  gradients: Sequence[str] | None = None, **fields: Any
) -> list[Row]:
  """Returns seconds of a forward and backward pass, with equal iterations.

  Args:
    gradients: names of the rows, by default all.
    **fields: fields of the network that override those of --model.
  """
  steps, rows = TIMED_STEPS.value, []
  choices: dict[str, dict[str, Any]] = {
    "Implicit": dict(gradient=Implicit(Simple(steps))),
    "Implicit, tolerance 0": dict(
      solver=Simple(tolerance=0.0), gradient=Implicit(Simple(steps, 0.0))
    ),
    "Unrolled": dict(gradient=Unrolled()),
  }
  for name in gradients or choices:
    model = make_model(choices[name] | fields)
    step, shapes = training_step(model, steps, TIMED_BATCH.value)
    library = step.lower(*shapes).compile()
    step, _ = training_step(model, steps, TIMED_BATCH.value)
    with mock.patch.object(get_module, "fixed_point", handwritten_fixed_point):
      handwritten = step.lower(*shapes).compile()
    keys = jax.random.split(jax.random.key(0), 3)
    arguments = [
      jax.random.normal(key, shape.shape)
      for key, shape in zip(keys, shapes[1:], strict=True)
    ]
    params = init_params(model, jax.random.key(1))
    programs = {"library": library, "handwritten": handwritten}
    seconds: dict[str, list[float]] = {program: [] for program in programs}
    for _ in range(REPEATS.value + 1):
      for program, run in programs.items():
        start = time.perf_counter()
        jax.block_until_ready(run(params, *arguments))
        seconds[program].append(time.perf_counter() - start)
    # The first run of each warms up.
    pairs = list(zip(*(times[1:] for times in seconds.values()), strict=True))
    rows.append(
      {
        "gradient": name,
        "by hand, s": statistics.median(b for _, b in pairs),
        "get_jax, s": statistics.median(a for a, _ in pairs),
        "median ratio": statistics.median(a / b for a, b in pairs),
        "ratio of the fastest": min(a for a, _ in pairs)
        / min(b for _, b in pairs),
      }
    )
  return rows


def evaluations_table() -> list[Row]:
  """Returns evaluations until all residuals are below 1e-6.

  Each number is the maximum over four linear maps.
  """
  solvers: dict[str, Solver] = {
    "Simple": Simple(500, 1e-6),
    "Anderson": Anderson(200, 1e-6),
    "Anderson(window=6)": Anderson(200, 1e-6, window=6),
    "Anderson(window=6, ridge=1e-4, absolute=True) = torchdeq's": Anderson(
      500, 1e-6, window=6, ridge=1e-4, absolute=True
    ),
    "Broyden": Broyden(120, 1e-6),
    "Broyden(memory=20)": Broyden(200, 1e-6, memory=20),
  }
  rows: dict[str, Row] = {name: {"solver": name} for name in solvers}
  with jax.enable_x64(True):
    for size in (16, 64):
      for symmetric in (True, False):
        column = f"{size}, {'symmetric' if symmetric else 'general'}"
        problems = [linear_map(size, symmetric, seed) for seed in range(4)]
        for name, solver in solvers.items():
          call = jax.jit(lambda w, x, s=solver: solve_linear(w, x, s))
          solutions = [call(w, x) for w, x in problems]
          converged = all(bool(s.converged.all()) for s in solutions)
          steps = max(int(s.steps.max()) for s in solutions)
          rows[name][column] = steps if converged else f"> {steps}"
  return list(rows.values())


def linear_map(
  size: int, symmetric: bool, seed: int
) -> tuple[jax.Array, jax.Array]:
  """Returns a random matrix of spectral radius 0.95 and a batch of shifts.

  Args:
    size: dimension D.
    symmetric: whether the matrix is symmetric.
    seed: seed of NumPy's generator.

  Returns:
    The matrix (D, D) and the shifts (4, D).
  """
  rng = np.random.default_rng(seed)
  w = rng.normal(size=(size, size))
  if symmetric:
    w = (w + w.T) / 2
  w *= 0.95 / np.abs(np.linalg.eigvals(w)).max()
  return jnp.asarray(w), jnp.asarray(rng.normal(size=(4, size)))


def solve_linear(w: jax.Array, x: jax.Array, solver: Solver) -> Solution:
  """Solves z = w z + x for a matrix w (D, D) and shifts x (B, D)."""
  return fixed_point(
    lambda w, x, z: z @ w.T + x, w, x, jnp.zeros_like(x), solver=solver
  )


def main(_: Sequence[str]) -> None:
  """Computes, prints and writes the selected tables."""
  tables = {}
  context = {
    "model": MODEL.value,
    "batch": BATCH.value,
    "timed_batch": TIMED_BATCH.value,
    "timed_steps": TIMED_STEPS.value,
    "jax": jax.__version__,
    "device": jax.devices()[0].device_kind,
  }
  titles = {
    "memory": f"Memory of a training step, {MODEL.value}, MiB",
    "time": f"Forward and backward, {TIMED_STEPS.value} iterations, seconds",
    "evaluations": "Evaluations to 1e-6, spectral radius 0.95",
  }
  functions = {
    "memory": memory_table,
    "time": time_table,
    "evaluations": evaluations_table,
  }
  print(", ".join(f"{k}: {v}" for k, v in context.items()))
  for name in dict.fromkeys(TABLES.value):
    tables[name] = functions[name]()
    print(f"\n## {titles[name]}\n\n{markdown(tables[name])}", flush=True)
  if JSON.value:
    with open(JSON.value, "w", encoding="utf-8") as file:
      json.dump({"context": context, **tables}, file, indent=2)


if __name__ == "__main__":
  app.run(main)
