"""What a step of training is made of, with shapes in place of data."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from get_jax.builders.model import build_init, image_shape
from get_jax.builders.objective import build_objective
from get_jax.generation.conditioning import Conditioning
from get_jax.training.ema import create_ema
from get_jax.training.optimizer import create_optimizer
from get_jax.training.rng import named_key
from get_jax.training.state import TrainState, state_maker
from get_jax.training.step import make_train_step

Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class TrainingStep:
  """A fresh state and the step that improves it, both pure.

  Attributes:
    init_state: (key) -> TrainState.
    init_key: the key of the run's initialisation.
    step: (state, batch) -> (state, first bad step).
  """

  init_state: Callable[[jax.Array], TrainState]
  init_key: jax.Array
  step: Callable[[TrainState, dict], tuple[TrainState, jax.Array]]


def build_training_step(
  config,
  model,
  batch: Shapes,
  pairs_seed: int | None = None,
  conditioning: Conditioning | None = None,
) -> TrainingStep:
  """The training step of an experiment.

  Args:
    config: the experiment.
    model: its network.
    batch: shapes and types of a step's records.
    pairs_seed: see `build_objective`.
    conditioning: see `build_objective`.

  Raises:
    UsageError: the settings contradict each other.
  """
  objective = build_objective(config, model, pairs_seed, conditioning)
  optimizer = create_optimizer(config.optimizer, config.num_steps)
  init, init_key = build_init(model), named_key(config.seed, "init")
  params = jax.eval_shape(init, init_key)
  names = sorted(jax.eval_shape(objective, params, batch, init_key)[1])
  step = make_train_step(
    objective,
    optimizer,
    create_ema(config.ema, config.batch_size),
    named_key(config.seed, "step"),
    config.log_every,
    config.optimizer.get("nonfinite", "stop") == "stop",
    config.accumulation,
  )
  return TrainingStep(state_maker(init, names, optimizer), init_key, step)


def batch_shapes(config, model) -> dict[str, jax.ShapeDtypeStruct]:
  """Shapes of a step's records as the network takes them, without any data."""
  size = config.batch_size
  shapes = {
    "image": jax.ShapeDtypeStruct((size, *image_shape(model)), jnp.float32)
  }
  y = model.inputs(size)[-1]
  if y is not None:
    shapes["label"] = y
  if config.task == "distillation":
    shapes["index"] = jax.ShapeDtypeStruct((size,), jnp.int32)
  return shapes
