"""Loads the network of the demo, and its teacher."""

import dataclasses
import functools
from collections.abc import Callable

from get_jax import weights
from get_jax.jobs.pairs import teacher_workdir
from get_jax.pipeline import Pipeline
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import latest_step


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The network that another one was distilled from.

  Attributes:
    name: name of the weights, or "teacher".
    load: loads the network.
  """

  name: str
  load: Callable[[], Pipeline]


@dataclasses.dataclass(frozen=True)
class Networks:
  """A network, and its teacher.

  Attributes:
    name: name of the weights, or the last part of the workdir.
    pipeline: the network.
    teacher: its teacher; None if it has none.
  """

  name: str
  pipeline: Pipeline
  teacher: Teacher | None


def load_published(name: str) -> Networks:
  """Loads published weights by name.

  Raises:
    UsageError: the name is unknown, or see `Pipeline.load`.
  """
  source = weights.find(name, "network").teacher
  teacher = Teacher(source, functools.partial(Pipeline.load, source))
  return Networks(name, Pipeline.load(name), teacher if source else None)


def load_run(workdir: str) -> Networks:
  """Loads the network of a run.

  Its teacher is that of the pairs of a distillation, as long as its checkpoints
  exist.

  Args:
    workdir: folder of the run.

  Raises:
    UsageError: see `Pipeline.load`.
  """
  folder = as_path(workdir)
  pipeline, teacher = Pipeline.load(folder), None
  if pipeline.config.task == "distillation":
    source = teacher_workdir(pipeline.config, folder)
    if latest_step(source) is not None:
      load = functools.partial(Pipeline.load, source)
      teacher = Teacher("teacher", load)
  return Networks(folder.name, pipeline, teacher)
