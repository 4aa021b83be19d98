"""--mode=evaluate: computes scores of a trained model or of image files."""

import jax
import ml_collections

from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.tasks import check_task
from get_jax.jobs.initial_params import load_params_or_init
from get_jax.jobs.measure import measure, measure_files
from get_jax.jobs.report_page import PAGE, write_page
from get_jax.progress import print_ending
from get_jax.training.workdir import open_workdir


def run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Prints scores with their protocol and writes results/evaluate.json.

  The page results/index.html is written again.

  Args:
    config: the experiment. `evaluation.samples` names an .npz, a zip or a
      folder of images; if it is empty, `evaluation.count` samples of the
      averaged parameters are generated.
    workdir: folder of the run.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  evaluator = build_evaluator(config)
  if config.evaluation.samples:
    result = measure_files(evaluator, config.evaluation.samples)
  else:
    params, weights = load_params_or_init(config, folder)
    generator = build_generator(config)
    result = measure(
      evaluator, config, generator, params, folder, "evaluating", weights
    )
  if jax.process_index() == 0:
    result.write(folder / "results" / "evaluate.json")
  write_page(folder)
  result.print()
  print_ending(
    "Finished",
    f"scores in {folder / 'results' / 'evaluate.json'}; report page "
    f"{folder / PAGE}",
  )
