"""The tasks of a config, and the training objective of each."""

import ml_collections

from get_jax.diffusion.denoising import Denoising
from get_jax.diffusion.objective import DataObjective
from get_jax.errors import UsageError

# Objectives on data. The section of a config with the name of the task has the
# settings of its objective.
OBJECTIVES: dict[str, type[DataObjective]] = {"denoising": Denoising}
# "distillation" learns from stored pairs.
TASKS = (*OBJECTIVES, "distillation")


def check_task(config: ml_collections.ConfigDict) -> None:
  """Checks that `config.task` is one of `TASKS`.

  Raises:
    UsageError: the task is unknown.
  """
  if config.task not in TASKS:
    raise UsageError(
      f"task is {config.task!r}; expected one of: {', '.join(TASKS)}"
    )
