"""Trains one network of an experiment."""

import flax.linen as nn
import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.data import build_source
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_model, image_shape
from get_jax.builders.training_step import build_training_step
from get_jax.data import Pipeline, Source
from get_jax.distillation.pairs import PairsSource, check_noise
from get_jax.errors import UsageError
from get_jax.generation.conditioning import Captions, Conditioning
from get_jax.generation.grids import save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.jobs.data_info import check_data, report_data
from get_jax.jobs.initial_params import load_initial_params, needs_init
from get_jax.jobs.metric_writer import make_open_writer
from get_jax.jobs.run_info import build_performance_metrics, log_run_info
from get_jax.jobs.samples import GRID_SIZE
from get_jax.storage.paths import Path
from get_jax.training.checkpoint_folders import remove_leftovers
from get_jax.training.checkpoints import latest_step
from get_jax.training.loop import MAX_SKIPPED, Preview, Schedule, fit
from get_jax.training.plots import LOSSES, plot_losses
from get_jax.training.processes import run_on_main
from get_jax.training.profiling import Profile
from get_jax.training.rng import named_key
from get_jax.training.sharding import (
  check_batch_size,
  local_batch_indices,
  num_batch_shards,
)
from get_jax.training.state import TrainState, create_state, with_params


def train(
  config: ml_collections.ConfigDict,
  workdir: Path,
  name: str = "train",
  profile: Profile | None = None,
  num_slices: int | None = None,
) -> None:
  """Trains one network until step `config.num_steps`.

  A run that has a checkpoint is resumed; a finished run is not repeated.

  Args:
    config: the experiment.
    workdir: directory of the run.
    name: name of the run in messages and plots, such as "teacher".
    profile: steps to trace with the profiler; None traces nothing.
    num_slices: see `make_mesh`.
  """
  last_step = run_on_main(lambda: latest_step(workdir))
  if (last_step or 0) >= config.num_steps:
    print(f"{name}: {config.num_steps} steps are already in {workdir}")
    # A run may have been killed after its last checkpoint.
    run_on_main(lambda: remove_leftovers(workdir / "checkpoints"))
    if jax.process_index() == 0 and not (workdir / LOSSES).exists():
      plot_losses(workdir, name)
    return
  mesh = build_mesh(config, num_slices=num_slices)
  check_batch_size(config.batch_size, mesh, accumulation=config.accumulation)
  model = build_model(config)
  source, pairs_seed = _build_training_source(config, workdir)
  _check_source(config, model, source)
  check_data(source, workdir)
  report_data(source, workdir, name, resumed=last_step is not None)
  pipeline = Pipeline(
    source,
    config.batch_size,
    config.seed,
    local_batch_indices(config.batch_size, mesh),
    config.loader.threads,
    config.loader.workers,
    _label_dtype(model),
  )
  conditioning = _build_training_conditioning(config, model, source)
  training_step = build_training_step(config, model, pairs_seed, conditioning)
  state = create_state(training_step.init_state, training_step.init_key, mesh)
  if needs_init(config, workdir):
    initial = load_initial_params(config, training_step.init_key)
    state = with_params(state, initial.params)
    initial.report(workdir, name)
  schedule = Schedule(
    config.num_steps,
    config.log_every,
    config.checkpoint_every,
    config.preview_every,
  )
  log_run_info(config, model, mesh, workdir, name, state)
  preview = None
  if config.preview_every:
    preview = _make_preview_fn(config, workdir, mesh)
  fit(
    workdir,
    state,
    training_step.step,
    pipeline,
    mesh,
    schedule,
    config.keep_checkpoints,
    preview,
    name,
    build_performance_metrics(config, mesh),
    profile,
    make_open_writer(config, name),
    MAX_SKIPPED if config.optimizer.get("nonfinite") == "skip" else 0,
  )
  if jax.process_index() == 0:
    plot_losses(workdir, name)


def _build_training_source(
  config: ml_collections.ConfigDict, workdir: Path
) -> tuple[Source, int | None]:
  """Returns the training data and the seed of the pairs' noise, if any."""
  if config.task != "distillation":
    return build_source(config), None
  source = PairsSource(config.pairs.directory or workdir / "pairs")
  seed = source.info.seed
  if seed is not None:
    check_noise(source.info, named_key(seed, "pairs"))
  return source, seed


def _label_dtype(model: nn.Module) -> dict[str, np.dtype]:
  """Returns the dtype in which the network takes labels or texts, by name."""
  y = model.abstract_conditioning(1)
  return {} if y is None else {"label": y.dtype}


def _check_source(
  config: ml_collections.ConfigDict, model: nn.Module, source: Source
) -> None:
  """Checks that image shape and classes of the data fit the network."""
  shape, expected = tuple(source.image_shape), image_shape(model)
  if shape != expected:
    raise UsageError(
      f"data {config.data.name!r} has images of shape {shape}; "
      f"{config.model.name} with these settings expects {expected}"
    )
  if model.num_classes and source.num_classes != model.num_classes:
    raise UsageError(
      f"data {config.data.name!r} has {source.num_classes} classes; "
      f"model.num_classes is {model.num_classes}"
    )


def _build_training_conditioning(
  config: ml_collections.ConfigDict, model: nn.Module, source: Source
) -> Conditioning:
  """Builds the conditioning of the data; samples must use the same encoder."""
  conditioning = build_conditioning(config, model, source)
  if isinstance(conditioning, Captions) and config.sampling.get("captions"):
    of_samples = build_conditioning(config, model)
    assert isinstance(of_samples, Captions)  # a property of the network
    data_encoder = conditioning.texts.encoder
    sampling_encoder = of_samples.texts.encoder
    if data_encoder != sampling_encoder:
      raise UsageError(
        "the texts of data and of sampling.captions were encoded by different "
        f"encoders, {data_encoder} and {sampling_encoder}; expected the same"
      )
  return conditioning


def _make_preview_fn(
  config: ml_collections.ConfigDict, workdir: Path, mesh: Mesh
) -> Preview:
  """Returns a function that saves a grid of EMA samples to samples/.

  The grid shows `sampling.count` samples, at most as many as that of
  --mode=sample.
  """
  key = named_key(config.sampling.seed, "sample")
  count = min(config.sampling.count, GRID_SIZE)
  shards = num_batch_shards(mesh)
  batch_size = min(config.sampling.batch_size, -(-count // shards) * shards)
  image_sampler = ImageSampler(build_generator(config), key, batch_size, mesh)

  def preview(state: TrainState, step: int) -> np.ndarray:
    images, ids = image_sampler.sample(state.ema, np.arange(count))
    titles = image_sampler.generator.conditioning.descriptions(ids)
    path = workdir / "samples" / f"{step:08d}.png"
    return save_grid(path, images, titles)

  return preview
