"""--mode=pairs: makes noise/image pairs with the teacher of a distillation."""

from get_jax.builders.sections import check_task
from get_jax.errors import UsageError
from get_jax.jobs.pairs import check_teacher, make_pairs
from get_jax.training.workdir import locked, open_workdir


def run(config, workdir: str) -> None:
  """Makes what is missing of the pairs of an experiment."""
  check_task(config)
  if config.task != "distillation":
    raise UsageError(
      f"--mode=pairs needs a config that distils; its task is {config.task!r}"
    )
  check_teacher(config)
  folder = open_workdir(workdir, config)
  with locked(folder):
    make_pairs(config, folder)
