"""Teachers: the trained networks that a distillation learns from.

The objectives of `get_jax.diffusion.objectives` start from the parameters of
the teacher; the task "distillation" learns from its samples.
"""

from collections.abc import Iterator

import ml_collections

from get_jax.builders.model import build_model
from get_jax.builders.process import build_process
from get_jax.diffusion import PROCESSES
from get_jax.diffusion.objectives import OBJECTIVES
from get_jax.diffusion.process import Process
from get_jax.errors import UsageError
from get_jax.models.adapt import describe_adaptation
from get_jax.storage.paths import Path


def trains_teacher(config: ml_collections.ConfigDict) -> bool:
  """Returns whether a run trains `config.teacher` before the experiment."""
  if "teacher" not in config:
    return False
  if config.task == "distillation":
    return not (config.pairs.directory or config.pairs.teacher_workdir)
  return starts_from_teacher(config) and not config.get("init_from")


def starts_from_teacher(config: ml_collections.ConfigDict) -> bool:
  """Returns whether initial parameters have to be those of a teacher."""
  objective = OBJECTIVES.get(config.task)
  if objective is None:
    return False
  return objective.needs_teacher or objective.takes_teacher


def with_teachers(
  config: ml_collections.ConfigDict, workdir: Path
) -> Iterator[tuple[ml_collections.ConfigDict, Path]]:
  """Yields an experiment and the teachers that it trains, with their folders.

  Args:
    config: the experiment.
    workdir: folder of the run; that of a teacher is in it.
  """
  yield config, workdir
  if trains_teacher(config):
    yield from with_teachers(config.teacher, workdir / "teacher")


def check_has_teacher(config: ml_collections.ConfigDict) -> None:
  """Checks that an experiment which needs a teacher has a suitable one.

  What `config.init_from` names is checked where it is opened.

  Raises:
    UsageError: there is none, or see `check_is_teacher`.
  """
  if not starts_from_teacher(config):
    return
  if trains_teacher(config):
    check_is_teacher(config, config.teacher, "config.teacher")
  elif OBJECTIVES[config.task].needs_teacher and not config.get("init_from"):
    raise UsageError(
      f"task={config.task!r} needs a teacher; expected init_from, a trained "
      "run or a checkpoint, or a section teacher, which is trained first"
    )


def check_is_teacher(
  config: ml_collections.ConfigDict,
  teacher: ml_collections.ConfigDict,
  where: str,
) -> None:
  """Checks that an experiment can start from a teacher.

  Args:
    config: the experiment.
    teacher: the experiment that trains the teacher.
    where: names the teacher in messages, such as "init_from=runs/teacher".

  Raises:
    UsageError: the teacher has another task, process or network.
  """
  objective = OBJECTIVES[config.task]
  if teacher.task not in objective.teacher_tasks:
    tasks = ", ".join(map(repr, objective.teacher_tasks))
    raise UsageError(
      f"{where} has task={teacher.task!r}; task={config.task!r} needs a "
      f"teacher with the task {tasks}"
    )
  wanted = objective.teacher_process(build_process(config))
  _check_process(build_process(teacher), wanted, f"{where}: the teacher")
  try:
    changes = describe_adaptation(build_model(teacher), build_model(config))
  except UsageError as error:
    raise UsageError(f"{where}: {error}") from None
  check_unchanged(config, changes, where)


def check_unchanged(
  config: ml_collections.ConfigDict, changes: dict[str, str], where: str
) -> None:
  """Checks that the network is the teacher's, except for further scalars.

  Args:
    config: the experiment.
    changes: see `describe_adaptation`.
    where: see `check_is_teacher`.

  Raises:
    UsageError: parameters of the teacher are changed.
  """
  scalars = tuple(
    module
    for name in getattr(build_model(config), "scalars", ())
    for module in (f"{name}_embed", f"map_{name}")
  )
  for path, change in changes.items():
    if path.split("/")[0] not in scalars:
      raise UsageError(
        f"{where}: {path} of the teacher would be changed ({change}); "
        f"task={config.task!r} needs a teacher with the same network"
      )


def _check_process(found: Process, wanted: Process, who: str) -> None:
  names = {cls: name for name, cls in PROCESSES.items()}
  if type(found) is not type(wanted):
    raise UsageError(
      f"{who} has process.name={names[type(found)]!r}; expected "
      f"{names[type(wanted)]!r}"
    )
  for name, value in wanted.parameterisation.items():
    other = found.parameterisation[name]
    if other != value:
      raise UsageError(
        f"{who} has process.{name}={other!r}; expected {value!r}, as in this "
        "experiment"
      )
