"""Reads parts of a config that several builders share."""

import ml_collections

from get_jax.errors import UsageError

TASKS = ("denoising", "distillation")


def check_task(config: ml_collections.ConfigDict) -> None:
  """Checks that `config.task` is one of `TASKS`.

  Raises:
    UsageError: the task is unknown.
  """
  if config.task not in TASKS:
    raise UsageError(
      f"task is {config.task!r}; expected one of: {', '.join(TASKS)}"
    )


def name_and_fields(section: ml_collections.ConfigDict) -> tuple[str, dict]:
  """Splits a section of a config into its `name` and its other keys.

  Raises:
    UsageError: the section has no `name`.
  """
  fields = dict(section.items())
  if "name" not in fields:
    raise UsageError(f"a section of the config has no name: {fields}")
  return fields.pop("name"), fields
