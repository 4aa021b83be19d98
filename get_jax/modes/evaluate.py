"""--mode=evaluate: score what a workdir has learnt, or outside images."""

import jax

from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.sections import check_task
from get_jax.jobs.measure import measure, measure_files
from get_jax.training.checkpoints import load_params
from get_jax.training.workdir import open_workdir


def run(config, workdir: str) -> None:
  """Prints scores with their protocol and leaves results/evaluate.json.

  `evaluation.samples` names an .npz, a zip or a folder of images; without it
  `evaluation.count` samples of the averaged parameters are drawn.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  evaluator = build_evaluator(config)
  if config.evaluation.samples:
    result = measure_files(evaluator, config.evaluation.samples)
  else:
    generator, params = build_generator(config), load_params(folder)
    result = measure(evaluator, config, generator, params, folder, "evaluating")
  if jax.process_index() == 0:
    result.write(folder / "results" / "evaluate.json")
  result.print()
