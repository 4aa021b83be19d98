"""What a step of training is made of, with shapes in place of data."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from get_jax.builders.build import build_init, build_objective, image_shape
from get_jax.generation.conditioning import Condition
from get_jax.training.ema import create_ema
from get_jax.training.optimizer import create_optimizer
from get_jax.training.rng import purpose_key
from get_jax.training.state import TrainState, state_maker
from get_jax.training.step import make_train_step

Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Learner:
  """A fresh state and the step that improves it, both pure.

  Attributes:
    make_state: (key) -> TrainState.
    init_key: the key of the run's initialisation.
    step: (state, batch) -> (state, first bad step).
  """

  make_state: Callable[[jax.Array], TrainState]
  init_key: jax.Array
  step: Callable[[TrainState, dict], tuple[TrainState, jax.Array]]


def build_learner(
  config,
  model,
  batch: Shapes,
  pairs_seed: int | None = None,
  condition: Condition | None = None,
) -> Learner:
  """The learner of an experiment.

  Args:
    config: the experiment.
    model: its network.
    batch: shapes and types of a step's records.
    pairs_seed: see `build_objective`.
    condition: see there.

  Raises:
    UsageError: the settings contradict each other.
  """
  objective = build_objective(config, model, pairs_seed, condition)
  optimizer = create_optimizer(config.optimizer, config.num_steps)
  init, init_key = build_init(model), purpose_key(config.seed, "init")
  params = jax.eval_shape(init, init_key)
  names = sorted(jax.eval_shape(objective, params, batch, init_key)[1])
  step = make_train_step(
    objective,
    optimizer,
    create_ema(config.ema, config.batch_size),
    purpose_key(config.seed, "step"),
    config.log_every,
    config.optimizer.get("nonfinite", "stop") == "stop",
    config.accumulation,
  )
  return Learner(state_maker(init, names, optimizer), init_key, step)


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
