"""--mode=train: trains an experiment, or resumes the run in the workdir."""

import jax
import ml_collections

from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_init, build_model
from get_jax.builders.tasks import check_task
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
  """Trains the experiment; a distillation first trains its teacher.

  A distillation without `pairs.directory` trains the teacher, unless
  `pairs.teacher_workdir` names one, and generates the pairs. An experiment with
  `report.enabled` ends with a report. The page results/index.html is written at
  the end.

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
  check_init_from(config, workdir)
  if _has_own_teacher(config):
    check_init_from(config.teacher, as_path(workdir) / "teacher")
  folder = open_workdir(workdir, config)
  enable_compilation_cache(folder)
  with locked(folder):
    if config.task == "distillation" and not config.pairs.directory:
      _train_teacher(config, folder, num_slices)
      make_pairs(config, folder)
    train(config, folder, profile=steps, num_slices=num_slices)
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
  parts = [config]
  if config.task == "distillation" and "teacher" in config:
    parts.append(config.teacher)
    if not config.pairs.directory:
      check_teacher(config)
  for part in parts:
    model, mesh = build_model(part), build_mesh(config, num_slices=num_slices)
    jax.eval_shape(build_init(model), jax.random.key(0))
    check_batch_size(part.batch_size, mesh, accumulation=part.accumulation)
    if part.sampler or part.task == "distillation":
      build_generator(part)
      check_batch_size(part.sampling.batch_size, mesh, "sampling.batch_size")
  if "report" in config and config.report.enabled:
    build_evaluator(config)


def _has_own_teacher(config: ml_collections.ConfigDict) -> bool:
  """Returns whether the run trains the teacher of a distillation."""
  if config.task != "distillation" or config.pairs.directory:
    return False
  return not config.pairs.teacher_workdir


def _train_teacher(
  config: ml_collections.ConfigDict,
  workdir: Path,
  num_slices: int | None,
) -> None:
  """Trains the teacher in `<workdir>/teacher`, unless the config names one."""
  if not _has_own_teacher(config):
    return
  teacher = config.teacher.copy_and_resolve_references()
  with teacher.unlocked():
    teacher.wandb = teacher.get("wandb") or config.get("wandb", "")
  folder = open_workdir(workdir / "teacher", teacher)
  train(teacher, folder, "teacher", num_slices=num_slices)
