"""Reads sections of a config that name what they configure."""

from get_jax.errors import UsageError

TASKS = ("denoising", "distillation")


def check_task(config) -> None:
  """Refuses a task that there is not.

  Raises:
    UsageError: `config.task` is unknown.
  """
  if config.task not in TASKS:
    raise UsageError(
      f"task is {config.task!r}; expected one of: {', '.join(TASKS)}"
    )


def name_and_fields(section) -> tuple[str, dict]:
  """A section of a config as its `name` and the other keys.

  Raises:
    UsageError: the section has no `name`.
  """
  section = dict(section.items())
  if "name" not in section:
    raise UsageError(f"a section of the config has no name: {section}")
  return section.pop("name"), section
