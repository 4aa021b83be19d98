"""Measures quality and cost against the tolerance of the equilibrium solver.

    python -m experiments.digits_adaptive --workdir=runs/get_digits

Each sample stops when its own relative residual falls below the tolerance. The
script prints the mean number of evaluations of the equilibrium layer, the time
in whole batches and in slots (see `solve_in_slots`), and the scores, and writes
`samples/adaptive.png` and `results/adaptive.json` in the workdir.
"""

import logging
import time

import jax
import numpy as np
from absl import app, flags
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from configs import get_digits
from get_jax.builders.evaluator import EXTRACTION_BATCH_SIZE, build_evaluator
from get_jax.builders.model import build_model, image_shape
from get_jax.diffusion.noise import EQUILIBRIUM, INITIAL, SampleNoise
from get_jax.equilibrium import Anderson, Implicit, Simple, Solution
from get_jax.evaluation import (
  EvaluationProtocol,
  batches,
  plot_curve,
  summarize_images,
  to_uint8,
)
from get_jax.generation.conditioning import sample_labels
from get_jax.models.get import GET
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import load_params
from get_jax.training.rng import named_key
from get_jax.training.workdir import write_results

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "A run of configs/get_digits.py.", required=True
)
TOLERANCES = (3e-1, 1e-1, 3e-2, 1e-2, 3e-3)
MAX_EVALUATIONS = 48
SLOTS = 50
SOLVERS = {"plain": Simple, "Anderson": Anderson}


def generate(
  model: GET,
  params: dict,
  key: jax.Array,
  count: int,
  batch_size: int,
  slots: int | None = None,
) -> tuple[float, tuple[np.ndarray, ...]]:
  """Generates samples 0 .. count - 1.

  Args:
    model: the network.
    params: its parameters.
    key: key of the noise.
    count: number of samples.
    batch_size: samples in a batch.
    slots: see `GET.solve`.

  Returns:
    CPU seconds without compilation; images (N, H, W, C), labels (N,),
    evaluations of the layer (N,) and whether the solver converged (N,).
  """

  @jax.jit
  def solve(params, indices):
    noise = SampleNoise.create(key, indices)
    labels = sample_labels(noise, model.num_classes)
    images, solution = model.apply(
      {"params": params},
      noise(INITIAL, image_shape(model)),
      labels,
      noise(EQUILIBRIUM, model.state_shape) * 0,
      MAX_EVALUATIONS,
      slots=slots,
      method="solve",
    )
    assert isinstance(solution, Solution)
    return images, labels, solution.steps, solution.converged

  def batch(start):
    return jax.device_get(solve(params, np.arange(start, start + batch_size)))

  batch(0)  # compiles
  before = time.process_time()
  parts = [batch(start) for start in range(0, count, batch_size)]
  return time.process_time() - before, tuple(
    np.concatenate(part)[:count] for part in zip(*parts, strict=True)
  )


def main(_):
  """Evaluates samples at every tolerance."""
  logging.getLogger().setLevel(logging.WARNING)
  config = get_digits.get_config()
  params = load_params(_WORKDIR.value)
  evaluator = build_evaluator(config)
  base_model = build_model(config)
  assert isinstance(base_model, GET)
  key = named_key(config.evaluation.seed, "sample")
  table = Table(
    "solver",
    "relative tolerance",
    "mean evaluations",
    "converged",
    "CPU seconds",
    "in slots",
    title=f"GET, {evaluator.count} digits, at most {MAX_EVALUATIONS} "
    "evaluations",
  )
  rows, points, names = [], [], None
  for name, solver in SOLVERS.items():
    for tolerance in TOLERANCES:
      model = base_model.clone(
        solver=solver(tolerance=tolerance, relative=True),
        gradient=Implicit(),  # its loop ends when all samples have stopped
      )
      arguments = (
        model, params, key, evaluator.count, config.sampling.batch_size
      )  # fmt: skip
      seconds, (images, labels, steps, converged) = generate(*arguments)
      seconds_in_slots, _ = generate(*arguments, slots=SLOTS)
      summary = summarize_images(
        evaluator.extractor,
        batches(to_uint8(images), EXTRACTION_BATCH_SIZE),
        labels,
      )
      protocol = EvaluationProtocol(
        evaluator.count, config.evaluation.seed, sampler=name
      )
      scores = evaluator.evaluate(summary, protocol).scores
      if names is None:
        names = [score for score in scores if "_std[" not in score]
        for score in names:
          table.add_column(escape(score), justify="right")
      mean_evaluations = float(steps.mean())
      rows.append(
        {
          "solver": name,
          "tolerance": tolerance,
          "mean_evaluations": mean_evaluations,
          "converged": float(converged.mean()),
          "cpu_seconds": seconds,
          "cpu_seconds_in_slots": seconds_in_slots,
          "scores": dict(scores),
        }
      )
      if name == "plain":
        points.append((mean_evaluations, scores))
      table.add_row(
        name,
        f"{tolerance:g}",
        f"{steps.mean():.2f}",
        f"{converged.mean():.1%}",
        f"{seconds:.1f}",
        f"{seconds_in_slots:.1f}",
        *(f"{scores[score]:.3f}" for score in names),
      )
  Console(width=120).print(table)
  plot_curve(
    f"{_WORKDIR.value}/samples/adaptive.png",
    "mean evaluations",
    points,
  )
  write_results(as_path(_WORKDIR.value), "adaptive", rows)


if __name__ == "__main__":
  app.run(main)
