"""--mode=train: learn, resuming what the workdir holds."""

import pathlib

import jax
import numpy as np

from get_jax.data import Pipeline
from get_jax.distillation.store import PairsSource, check_noise
from get_jax.errors import UsageError
from get_jax.generation import grids as pictures
from get_jax.builders.build import (
  build_condition,
  build_init,
  build_mesh,
  build_model,
  build_source,
  check_task,
  image_shape,
)
from get_jax.generation.conditioning import Captions
from get_jax.builders.generator import ImageMaker, build_generator
from get_jax.builders.training_step import build_learner
from get_jax.jobs.run_info import (
  cache_programs,
  create_instruments,
  record_options,
)
from get_jax.builders.evaluator import build_ruler
from get_jax.training.workdir import locked, open_workdir
from get_jax.training.checkpoints import latest_step
from get_jax.training.profiling import Profile
from get_jax.training.loop import Schedule, fit
from get_jax.training.processes import decide
from get_jax.training.rng import purpose_key
from get_jax.training.sharding import check_batch_size, local_rows
from get_jax.training.state import create_state


def run(config, workdir: str, profile: str | None = None) -> None:
  """Trains the experiment; a distillation first makes what it learns from.

  Args:
    config: the experiment.
    workdir: folder of the run.
    profile: steps to trace, "START:STOP"; not those of a teacher.
  """
  from get_jax.programs import pairs
  from get_jax.jobs import report

  steps = None if profile is None else Profile.of(profile)
  check_experiment(config)
  folder = open_workdir(workdir, config)
  cache_programs(folder)
  with locked(folder):
    if config.task == "distillation" and not config.pairs.directory:
      pairs.train_teacher(config, folder)
      pairs.make(config, folder)
    learn(config, folder, profile=steps)
    if "report" in config and config.report.enabled:
      report.run(config, folder)


def check_experiment(config) -> None:
  """Refuses what could only fail after hours, for instance of the teacher.

  Raises:
    UsageError: the network, its teacher, its generator, the mesh or the
      report's scores do not go together.
  """
  from get_jax.programs import pairs

  check_task(config)
  parts = [config]
  if config.task == "distillation" and "teacher" in config:
    parts.append(config.teacher)
    if not config.pairs.directory:
      pairs.check_teacher(config)
  for part in parts:
    model, mesh = build_model(part), build_mesh(config)
    jax.eval_shape(build_init(model), jax.random.key(0))
    check_batch_size(part.batch_size, mesh, accumulation=part.accumulation)
    if part.sampler or part.task == "distillation":
      build_generator(part)
      check_batch_size(part.sampling.batch_size, mesh, "sampling.batch_size")
  if "report" in config and config.report.enabled:
    build_ruler(config)


def learn(
  config,
  workdir: pathlib.Path,
  name: str = "train",
  profile: Profile | None = None,
) -> None:
  """Trains one network up to `config.num_steps`; done is done."""
  if (decide(lambda: latest_step(workdir)) or 0) >= config.num_steps:
    print(f"{name}: {config.num_steps} steps are already in {workdir}")
    return
  mesh = build_mesh(config)
  check_batch_size(config.batch_size, mesh, accumulation=config.accumulation)
  model = build_model(config)
  source, pairs_seed = _source(config, workdir)
  _check_data(config, model, source)
  pipeline = Pipeline(
    source,
    config.batch_size,
    config.seed,
    local_rows(config.batch_size, mesh),
    config.loader.threads,
    config.loader.workers,
  )
  batch = jax.eval_shape(lambda: pipeline.batch(0))
  condition = _condition(config, model, source)
  learner = build_learner(config, model, batch, pairs_seed, condition)
  state = create_state(learner.make_state, learner.init_key, mesh)
  schedule = Schedule(
    config.num_steps,
    config.log_every,
    config.checkpoint_every,
    config.preview_every,
  )
  record_options(config, model, mesh, workdir, name)
  preview = _previewer(config, workdir, mesh) if config.preview_every else None
  fit(
    workdir,
    state,
    learner.step,
    pipeline,
    mesh,
    schedule,
    config.keep_checkpoints,
    preview,
    name,
    create_instruments(config, mesh),
    profile,
  )
  if jax.process_index() == 0:
    pictures.plot_losses(workdir, name)


def _source(config, workdir: pathlib.Path):
  if config.task == "denoising":
    return build_source(config), None
  source = PairsSource(config.pairs.directory or workdir / "pairs")
  seed = source.info.seed
  if seed is not None:
    check_noise(source.info, purpose_key(seed, "pairs"))
  return source, seed


def _check_data(config, model, source) -> None:
  found, expected = tuple(source.image_shape), image_shape(model)
  if found != expected:
    raise UsageError(
      f"data {config.data.name!r} has images of shape {found}; "
      f"{config.model.name} with these settings expects {expected}"
    )
  if model.num_classes and source.num_classes != model.num_classes:
    raise UsageError(
      f"data {config.data.name!r} has {source.num_classes} classes; "
      f"model.num_classes is {model.num_classes}"
    )


def _condition(config, model, source):
  """What the data tells the network; samples must be told the like."""
  learnt = build_condition(config, model, source)
  if isinstance(learnt, Captions) and config.sampling.get("captions"):
    data, shown = learnt.texts, build_condition(config, model).texts
    if data.encoder != shown.encoder:
      raise UsageError(
        "the texts of data and of sampling.captions were encoded by different "
        f"encoders, {data.encoder} and {shown.encoder}; expected the same"
      )
  return learnt


def _previewer(config, workdir: pathlib.Path, mesh):
  """A function that leaves a grid of EMA samples in samples/."""
  key = purpose_key(config.sampling.seed, "sample")
  maker = ImageMaker(
    build_generator(config), key, config.sampling.batch_size, mesh
  )

  def preview(state, step):
    images, chosen = maker.all(state.ema, np.arange(config.sampling.count))
    names = maker.generator.condition.names(chosen)
    pictures.save_grid(workdir / "samples" / f"{step:08d}.png", images, names)

  return preview
