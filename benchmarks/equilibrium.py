"""What an equilibrium layer costs: memory, time, evaluations.

  python benchmarks/equilibrium.py --json=equilibrium.json

prints three tables as Markdown and, with --json, writes them to a file.
Memory is read off the compiled gradient of a training step and needs no
accelerator; nothing is run for it. Time is a forward and a backward pass,
against a loop written by hand that computes nothing else, the two taking
turns. Evaluations are counted on linear maps whose spectral radius is 0.95.
"""

import json
import statistics
import time
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

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
from get_jax.models import create_model
from get_jax.models import get as get_module

MODEL = flags.DEFINE_string("model", "GET-M/2", "A GET by name.")
BATCH = flags.DEFINE_integer("batch", 8, "Batch of the memory table.")
TIMED_BATCH = flags.DEFINE_integer("timed_batch", 8, "Batch of the time table.")
STEPS = flags.DEFINE_multi_integer(
  "steps", [6, 24, 96], "Iterations of the memory table."
)
TIMED_STEPS = flags.DEFINE_integer(
  "timed_steps", 6, "Iterations of the time table."
)
REPEATS = flags.DEFINE_integer("repeats", 5, "Runs of the time table.")
TABLES = flags.DEFINE_multi_enum(
  "table",
  ["memory", "time", "evaluations"],
  ["memory", "time", "evaluations"],
  "Which tables to make.",
)
JSON = flags.DEFINE_string("json", None, "Where to write the tables.")


def modes(steps: int) -> list[tuple[str, str, dict]]:
  """Name, torchdeq's settings for the same, and fields of the model."""
  k = steps
  ift = f"f_max_iter={k}, ift=True, b_max_iter={k}"
  unrolled = f"f_max_iter=0, grad={k}"
  whole = Unrolled(policy="nothing_saveable")
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
    ("Unrolled, steps checkpointed", "none", dict(gradient=whole)),
  ]


def training_step(model, steps: int, batch: int):
  """The gradient of an L1 loss, and the shapes of its arguments."""

  def loss(params, noise, z0, target):
    images = model.apply({"params": params}, noise, None, z0, steps)
    return jnp.mean(jnp.abs(images - target))

  noise = jax.ShapeDtypeStruct((batch, 32, 32, 3), jnp.float32)
  z0 = jax.ShapeDtypeStruct((batch, *model.state_shape), jnp.float32)
  params = jax.eval_shape(model.init, jax.random.key(0), noise)["params"]
  return jax.jit(jax.grad(loss)), (params, noise, z0, noise)


def memory_table() -> list[dict]:
  """Temporary memory of a training step in MiB, by mode and iterations."""
  rows = []
  for index, (name, _, _) in enumerate(modes(STEPS.value[0])):
    row = {"gradient": name}
    for steps in STEPS.value:
      _, row["torchdeq"], fields = modes(steps)[index]
      model = make_model(fields)
      step, arguments = training_step(model, steps, BATCH.value)
      analysis = step.lower(*arguments).compile().memory_analysis()
      row[f"{steps} iterations"] = analysis.temp_size_in_bytes / 2**20
      state = BATCH.value * np.prod(model.state_shape) * 4 / 2**20
    first, last = STEPS.value[0], STEPS.value[-1]
    growth = row[f"{last} iterations"] - row[f"{first} iterations"]
    row["states an iteration"] = growth / (last - first) / state
    row["torchdeq"] = row.pop("torchdeq").replace(str(last), "k")
    rows.append(row)
  return rows


def make_model(fields: dict):
  """The model with plain iteration unless the fields say otherwise."""
  return create_model(MODEL.value, **{"solver": Simple(), **fields})


def by_hand(f, params, x, z0, *, solver, gradient, **_) -> Solution:
  """What a user would write who wants no diagnostics."""
  steps = solver.max_steps

  def forward(params, x, z0):
    return jax.lax.fori_loop(0, steps, lambda _, z: f(params, x, z), z0)

  @jax.custom_vjp
  def implicit(params, x, z0):
    return forward(params, x, z0)

  def keep(params, x, z0):
    z = forward(params, x, z0)
    return z, (params, x, z)

  def backward(kept, g):
    _, pullback = jax.vjp(f, *kept)
    y = jax.lax.fori_loop(
      0, steps, lambda _, y: pullback(y)[2] + g, jnp.zeros_like(g)
    )
    d_params, d_x, _ = pullback(y)
    return d_params, d_x, jnp.zeros_like(g)

  implicit.defvjp(keep, backward)
  if isinstance(gradient, Implicit):
    value = implicit(params, x, z0)
  else:
    value, _ = jax.lax.scan(
      lambda z, _: (f(params, x, z), None), z0, length=steps
    )
  return Solution(value, None, None, None, None)


def time_table(gradients=None) -> list[dict]:
  """Seconds of a forward and backward pass at equal iterations."""
  steps, rows = TIMED_STEPS.value, []
  chosen = {
    "Implicit": dict(gradient=Implicit(Simple(steps))),
    "Implicit, tolerance 0": dict(
      solver=Simple(tolerance=0.0), gradient=Implicit(Simple(steps, 0.0))
    ),
    "Unrolled": dict(gradient=Unrolled()),
  }
  for name in gradients or chosen:
    model = make_model(chosen[name])
    step, shapes = training_step(model, steps, TIMED_BATCH.value)
    ours = step.lower(*shapes).compile()
    step, _ = training_step(model, steps, TIMED_BATCH.value)
    with mock.patch.object(get_module, "fixed_point", by_hand):
      hand = step.lower(*shapes).compile()
    keys = jax.random.split(jax.random.key(0), 3)
    arguments = [
      jax.random.normal(key, shape.shape)
      for key, shape in zip(keys, shapes[1:], strict=True)
    ]
    params = model.init(jax.random.key(1), arguments[0])["params"]
    seconds = {"ours": [], "hand": []}
    for _ in range(REPEATS.value + 1):
      for kind, program in (("ours", ours), ("hand", hand)):
        start = time.perf_counter()
        jax.block_until_ready(program(params, *arguments))
        seconds[kind].append(time.perf_counter() - start)
    pairs = list(zip(seconds["ours"], seconds["hand"], strict=True))[1:]
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


def evaluations_table() -> list[dict]:
  """Evaluations until all residuals are below 1e-6, worst of a few maps."""
  solvers = {
    "Simple": Simple(500, 1e-6),
    "Anderson": Anderson(200, 1e-6),
    "Anderson(window=6)": Anderson(200, 1e-6, window=6),
    "Anderson(window=6, ridge=1e-4, absolute=True) = torchdeq's": Anderson(
      500, 1e-6, window=6, ridge=1e-4, absolute=True
    ),
    "Broyden": Broyden(120, 1e-6),
    "Broyden(memory=20)": Broyden(200, 1e-6, memory=20),
  }
  rows = {name: {"solver": name} for name in solvers}
  with jax.enable_x64(True):
    for size in (16, 64):
      for symmetric in (True, False):
        column = f"{size}, {'symmetric' if symmetric else 'general'}"
        problems = [linear_map(size, symmetric, seed) for seed in range(4)]
        for name, solver in solvers.items():
          call = jax.jit(lambda w, x, s=solver: solve_linear(w, x, s))
          counts = [call(w, x) for w, x in problems]
          done = all(bool(c.converged.all()) for c in counts)
          worst = max(int(c.steps.max()) for c in counts)
          rows[name][column] = worst if done else f"> {worst}"
  return list(rows.values())


def linear_map(size: int, symmetric: bool, seed: int):
  """A random matrix of spectral radius 0.95 and a batch of shifts."""
  rng = np.random.default_rng(seed)
  w = rng.normal(size=(size, size))
  if symmetric:
    w = (w + w.T) / 2
  w *= 0.95 / np.abs(np.linalg.eigvals(w)).max()
  return jnp.asarray(w), jnp.asarray(rng.normal(size=(4, size)))


def solve_linear(w, x, solver) -> Solution:
  """Solves z = w z + x."""
  return fixed_point(
    lambda w, x, z: z @ w.T + x, w, x, jnp.zeros_like(x), solver=solver
  )


def markdown(rows: list[dict]) -> str:
  """A table of rows with the same keys."""

  def cell(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)

  lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
  for row in rows:
    lines.append("| " + " | ".join(map(cell, row.values())) + " |")
  return "\n".join(lines)


def rows(scale) -> list[dict]:
  """Memory and time of the gradients, in one table."""
  tiny = scale.name == "tiny"
  steps = [2] if tiny else [6, 24]
  flags.FLAGS(
    [
      "equilibrium",
      f"--model={'GET-B/2' if scale.name == 'paper' else 'GET-T/2'}",
      f"--batch={1 if tiny else 8}",
      f"--timed_batch={1 if tiny else 4}",
      f"--repeats={scale.repeats}",
      f"--timed_steps={2 if tiny else 6}",
      *(f"--steps={count}" for count in steps),
    ]
  )
  memory = [] if tiny else memory_table()
  times = time_table(["Unrolled"] if tiny else None)
  return [
    {k: f"{v:.0f} MiB" if isinstance(v, float) else v for k, v in row.items()}
    for row in memory
  ] + times


def main(_):
  """Makes, prints and writes the tables."""
  made = {}
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
  makers = {
    "memory": memory_table,
    "time": time_table,
    "evaluations": evaluations_table,
  }
  print(", ".join(f"{k}: {v}" for k, v in context.items()))
  for name in dict.fromkeys(TABLES.value):
    made[name] = makers[name]()
    print(f"\n## {titles[name]}\n\n{markdown(made[name])}", flush=True)
  if JSON.value:
    with open(JSON.value, "w", encoding="utf-8") as file:
      json.dump({"context": context, **made}, file, indent=2)


if __name__ == "__main__":
  app.run(main)
