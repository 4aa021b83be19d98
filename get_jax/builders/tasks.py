"""The names of the tasks of a config; needs no JAX."""

import ml_collections

from get_jax.errors import UsageError

# "distillation" learns from stored pairs, the others from data, with the
# objectives of `get_jax.diffusion.objectives`.
TASKS = (
  "denoising",
  "mean_flow",
  "improved_mean_flow",
  "consistency_training",
  "consistency_distillation",
  "continuous_consistency_training",
  "continuous_consistency_distillation",
  "easy_consistency",
  "guidance_distillation",
  "progressive_distillation",
  "distillation",
)


def check_task(config: ml_collections.ConfigDict) -> None:
  """Checks that `config.task` is one of `TASKS`.

  Raises:
    UsageError: the task is unknown.
  """
  if config.task not in TASKS:
    raise UsageError(
      f"task is {config.task!r}; expected one of: {', '.join(TASKS)}"
    )
