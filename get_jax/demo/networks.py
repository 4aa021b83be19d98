"""Loads the network of the demo, and its teacher."""

import dataclasses
from collections.abc import Callable

from get_jax import weights
from get_jax.jobs.pairs import teacher_workdir
from get_jax.pipeline import Pipeline
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import latest_step


@dataclasses.dataclass(frozen=True)
class Networks:
  """A network, and the teacher that it was distilled from.

  Attributes:
    name: name of the weights, or the last part of the workdir.
    pipeline: the network.
    load_teacher: loads the teacher; None if there is none.
  """

  name: str
  pipeline: Pipeline
  load_teacher: Callable[[], Pipeline] | None


def load_published(name: str) -> Networks:
  """Loads published weights by name.

  Raises:
    UsageError: the name is unknown, or see `Pipeline.load`.
  """
  teacher = weights.find(name, "network").teacher
  load_teacher = (lambda: Pipeline.load(teacher)) if teacher else None
  return Networks(name, Pipeline.load(name), load_teacher)


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
  pipeline = Pipeline.load(folder)
  load_teacher = None
  if pipeline.config.get("teacher") and pipeline.config.get("pairs"):
    teacher = teacher_workdir(pipeline.config, folder)
    if latest_step(teacher) is not None:
      load_teacher = lambda: Pipeline.load(teacher)  # noqa: E731
  return Networks(folder.name, pipeline, load_teacher)
