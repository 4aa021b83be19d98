"""--mode=train: trains an experiment, or resumes the run in the workdir."""

import os

import jax
import ml_collections

from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_init, build_model
from get_jax.builders.tasks import check_task
from get_jax.builders.teacher import (
  check_has_teacher,
  trains_teacher,
  with_teachers,
)
from get_jax.jobs.initial_params import check_init_from
from get_jax.jobs.pairs import check_teacher, make_pairs
from get_jax.jobs.report import make_report
from get_jax.jobs.report_page import PAGE, write_page
from get_jax.jobs.run_info import enable_compilation_cache
from get_jax.jobs.train import train
from get_jax.progress import print_ending
from get_jax.storage.paths import Path, as_path
from get_jax.training.profiling import Profile
from get_jax.training.sharding import check_batch_size
from get_jax.training.wandb_writer import check_wandb
from get_jax.training.workdir import locked, open_workdir


def run(
  config: ml_collections.ConfigDict,
  workdir: str,
  profile: str | None = None,
  num_slices: int | None = None,
) -> None:
  """Trains the experiment, and first its teacher if it has one.

  The task "distillation" trains the teacher, unless `pairs.teacher_workdir`
  names one, and generates the pairs; with `pairs.directory` it does neither.
  Other tasks with a teacher train it, unless `init_from` names one, and start
  from its parameters. An experiment with `report.enabled` ends with a report.
  The page results/index.html is written at the end.

  Args:
    config: the experiment.
    workdir: folder of the run.
    profile: training steps to trace, "START:STOP"; the teacher's training is
      not traced.
    num_slices: see `make_mesh`.

  Raises:
    UsageError: see `check_experiment`, `init_from` does not fit, or another
      process works in the workdir.
  """
  steps = None if profile is None else Profile.parse(profile)
  check_experiment(config, num_slices)
  for part, place in with_teachers(config, as_path(workdir)):
    check_init_from(part, place)
  folder = open_workdir(workdir, config)
  enable_compilation_cache(folder)
  with locked(folder):
    _train(config, folder, "train", steps, num_slices)
    if "report" in config and config.report.enabled:
      make_report(config, folder)
    write_page(folder)
  print_ending(
    "Finished",
    f"{config.num_steps} steps in {folder}; report page {folder / PAGE}",
  )


def check_experiment(
  config: ml_collections.ConfigDict, num_slices: int | None = None
) -> None:
  """Checks settings that would otherwise fail after hours of training.

  Args:
    config: the experiment.
    num_slices: see `make_mesh`.

  Raises:
    UsageError: the network, its teacher, its generator, the mesh and the
      report's scores are not compatible.
  """
  check_task(config)
  check_wandb(config.get("wandb", ""))
  parts = [part for part, _ in with_teachers(config, as_path(""))]
  for part in parts:
    check_task(part)
    check_has_teacher(part)
    if part.task == "distillation" and not part.pairs.directory:
      check_teacher(part)
  last = parts[-1]
  if last.task == "distillation" and "teacher" in last:
    parts.append(last.teacher)  # It made the pairs.
  for part in parts:
    model, mesh = build_model(part), build_mesh(config, num_slices=num_slices)
    jax.eval_shape(build_init(model), jax.random.key(0))
    check_batch_size(part.batch_size, mesh, accumulation=part.accumulation)
    if part.sampler or part.task == "distillation":
      build_generator(part)
      check_batch_size(part.sampling.batch_size, mesh, "sampling.batch_size")
  if "report" in config and config.report.enabled:
    build_evaluator(config)


def _train(
  config: ml_collections.ConfigDict,
  folder: Path,
  name: str,
  profile: Profile | None,
  num_slices: int | None,
) -> None:
  """Trains an experiment after what it learns from: teacher and pairs."""
  start = config
  if trains_teacher(config):
    teacher = config.teacher.copy_and_resolve_references()
    with teacher.unlocked():
      teacher.wandb = teacher.get("wandb") or config.get("wandb", "")
    teacher_folder = open_workdir(folder / "teacher", teacher)
    _train(teacher, teacher_folder, "teacher", None, num_slices)
    if config.task != "distillation":
      start = config.copy_and_resolve_references()
      with start.unlocked():
        start.init_from = os.fspath(teacher_folder)
  if config.task == "distillation" and not config.pairs.directory:
    make_pairs(config, folder)
  train(start, folder, name, profile, num_slices)
