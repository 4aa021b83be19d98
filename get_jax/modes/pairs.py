"""--mode=pairs: generates the noise/image pairs of a distillation."""

import ml_collections

from get_jax.builders.tasks import check_task
from get_jax.errors import UsageError
from get_jax.jobs.pairs import check_teacher, make_pairs
from get_jax.progress import print_ending
from get_jax.training.workdir import locked, open_workdir


def run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Generates the missing pairs of an experiment with its teacher.

  Args:
    config: the experiment.
    workdir: folder of the run.

  Raises:
    UsageError: the experiment is no distillation, the student cannot learn from
      the teacher, or another process works in the workdir.
  """
  check_task(config)
  if config.task != "distillation":
    raise UsageError(
      f"--mode=pairs needs a config that distils; its task is {config.task!r}"
    )
  check_teacher(config)
  folder = open_workdir(workdir, config)
  with locked(folder):
    make_pairs(config, folder)
  print_ending("Finished", f"{config.pairs.count} pairs in {folder / 'pairs'}")
