"""Adaptive cost: quality against the tolerance of the equilibrium solver.

  python -m experiments.digits_adaptive --workdir=runs/get_digits

Each sample stops when its own relative residual falls below the tolerance.
Prints the mean number of evaluations of the layer and the scores, and leaves
samples/adaptive.png and results/adaptive.json in the workdir.
"""

import logging
import pathlib

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
from get_jax.equilibrium import Anderson, Simple
from get_jax.evaluation import batches, plot_curve, summarize_images, to_uint8
from get_jax.evaluation.protocol import Protocol
from get_jax.generation.conditioning import sample_labels
from get_jax.training.checkpoints import load_params
from get_jax.training.rng import named_key
from get_jax.training.workdir import write_results

_WORKDIR = flags.DEFINE_string("workdir", None, "A run of get_digits.")
TOLERANCES = (3e-1, 1e-1, 3e-2, 1e-2, 3e-3)
LIMIT = 48  # evaluations at most
SOLVERS = {"plain": Simple, "Anderson": Anderson}


def draw(model, params, key, count, size):
  """Images, labels and evaluations of samples 0 .. count - 1."""

  @jax.jit
  def solve(params, indices):
    noise = SampleNoise.of(key, indices)
    labels = sample_labels(noise, model.num_classes)
    images, solution = model.apply(
      {"params": params},
      noise(INITIAL, image_shape(model)),
      labels,
      noise(EQUILIBRIUM, model.state_shape) * 0,
      LIMIT,
      method="solve",
    )
    return images, labels, solution.steps, solution.converged

  parts = [
    solve(params, np.arange(start, start + size))
    for start in range(0, count, size)
  ]
  return (np.concatenate(part)[:count] for part in zip(*parts, strict=True))


def main(_):
  """Measures at every tolerance."""
  logging.getLogger().setLevel(logging.WARNING)
  config = get_digits.get_config()
  params = load_params(_WORKDIR.value)
  evaluator = build_evaluator(config)
  plain = build_model(config)
  key = named_key(config.evaluation.seed, "sample")
  table = Table(
    "solver", "relative tolerance", "mean evaluations", "converged",
    title=f"GET, {evaluator.count} digits, at most {LIMIT} evaluations",
  )  # fmt: skip
  rows, names = [], None
  for name, solver in SOLVERS.items():
    for tolerance in TOLERANCES:
      model = plain.clone(solver=solver(tolerance=tolerance, relative=True))
      images, labels, steps, converged = draw(
        model, params, key, evaluator.count, config.sampling.batch_size
      )
      summary = summarize_images(
        evaluator.extractor,
        batches(to_uint8(images), EXTRACTION_BATCH_SIZE),
        labels,
      )
      protocol = Protocol(evaluator.count, config.evaluation.seed, sampler=name)
      scores = evaluator.result(summary, protocol).scores
      if names is None:
        names = [score for score in scores if "_std[" not in score]
        for score in names:
          table.add_column(escape(score), justify="right")
      row = {
        "solver": name,
        "tolerance": tolerance,
        "mean_evaluations": float(steps.mean()),
        "converged": float(converged.mean()),
        "scores": dict(scores),
      }
      rows.append(row)
      table.add_row(
        name,
        f"{tolerance:g}",
        f"{steps.mean():.2f}",
        f"{converged.mean():.1%}",
        *(f"{scores[score]:.3f}" for score in names),
      )
  Console(width=120).print(table)
  plot_curve(
    f"{_WORKDIR.value}/samples/adaptive.png",
    "mean evaluations",
    [
      (row["mean_evaluations"], row["scores"])
      for row in rows
      if row["solver"] == "plain"
    ],
  )
  write_results(pathlib.Path(_WORKDIR.value), "adaptive", rows)


if __name__ == "__main__":
  flags.mark_flag_as_required("workdir")
  app.run(main)
