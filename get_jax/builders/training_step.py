"""Builds the training step of a config and its abstract inputs."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from get_jax.builders.model import build_init, image_shape
from get_jax.builders.objective import build_objective
from get_jax.generation.conditioning import Conditioning
from get_jax.training.ema import create_ema
from get_jax.training.optimizer import create_optimizer
from get_jax.training.rng import named_key
from get_jax.training.state import TrainState, make_init_state
from get_jax.training.step import make_train_step


@dataclasses.dataclass(frozen=True)
class TrainingStep:
  """Pure functions that initialise and update a training state.

  Attributes:
    init_state: (key) -> TrainState.
    init_key: PRNG key of the initialisation.
    step: (state, batch) -> (state, first step with a non-finite value).
  """

  init_state: Callable[[jax.Array], TrainState]
  init_key: jax.Array
  step: Callable[[TrainState, dict], tuple[TrainState, jax.Array]]


def build_training_step(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  pairs_seed: int | None = None,
  conditioning: Conditioning | None = None,
) -> TrainingStep:
  """Builds the training step of an experiment.

  Args:
    config: the experiment.
    model: the network of the experiment.
    pairs_seed: see `build_objective`.
    conditioning: see `build_objective`.

  Raises:
    UsageError: the settings contradict each other.
  """
  objective = build_objective(config, model, pairs_seed, conditioning)
  optimizer = create_optimizer(config.optimizer, config.num_steps)
  init, init_key = build_init(model), named_key(config.seed, "init")
  step = make_train_step(
    objective,
    optimizer,
    create_ema(config.ema, config.batch_size),
    named_key(config.seed, "step"),
    config.log_every,
    config.optimizer.get("nonfinite", "stop"),
    config.accumulation,
  )
  init_state = make_init_state(
    init,
    sorted(objective.metric_names),
    optimizer,
    objective.target_names,
  )
  return TrainingStep(init_state, init_key, step)


def batch_shapes(
  config: ml_collections.ConfigDict, model: nn.Module
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a training batch, derived from config and network.

  Args:
    config: the experiment; no data is read.
    model: the network of the experiment.

  Returns:
    "image" (B, H, W, C) float32; "label", if the network is conditional, with
    the shape and dtype that it takes; "index" (B,) int32 for a distillation.
  """
  size = config.batch_size
  shapes = {
    "image": jax.ShapeDtypeStruct((size, *image_shape(model)), jnp.float32)
  }
  y = model.abstract_conditioning(size)
  if y is not None:
    shapes["label"] = y
  if config.task == "distillation":
    shapes["index"] = jax.ShapeDtypeStruct((size,), jnp.int32)
  return shapes
