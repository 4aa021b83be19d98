"""Builds the training objective of a config."""

import flax.linen as nn
import jax
import ml_collections

from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.model import build_student
from get_jax.builders.process import build_augmentation, build_process
from get_jax.builders.requirements import check_network, with_forward_mode
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objectives import OBJECTIVES
from get_jax.diffusion.objectives.base import DataObjective, Objective
from get_jax.diffusion.registry import build
from get_jax.distillation.objective import Distillation
from get_jax.errors import UsageError
from get_jax.generation.conditioning import Conditioning
from get_jax.training.rng import named_key


def build_objective(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  pairs_seed: int | None = None,
  conditioning: Conditioning | None = None,
) -> Objective:
  """Builds the objective of `config.task`.

  Args:
    config: the experiment.
    model: the network of the experiment.
    pairs_seed: for a distillation, the seed of the pairs' noise; None uses the
      noise that is stored in the records.
    conditioning: conditioning of the training data; None builds that of the
      config.

  Raises:
    UsageError: the settings contradict each other.
  """
  if config.task == "distillation":
    return _build_distillation(config, model, pairs_seed)
  return _build_on_data(config, model, conditioning)


def _build_on_data(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  conditioning: Conditioning | None,
) -> DataObjective:
  if conditioning is None:
    conditioning = build_conditioning(config, model)
  null = conditioning.null
  if config.label_dropout and null is None:
    raise UsageError(
      f"label_dropout is {config.label_dropout} but {config.model.name} has "
      "no null class; expected model.null_class=True or label_dropout=0"
    )
  objective, task = OBJECTIVES[config.task], f"task={config.task!r}"
  check_network(config.model.name, model, objective.network_fields, task)
  if objective.forward_mode:
    model = with_forward_mode(model, task)
  is_conditional = model.abstract_conditioning(1) is not None

  def apply(params, x, t, y, key, train=True, **kwargs):
    y = y if is_conditional else None
    rngs = {"dropout": key}
    variables = {"params": params}
    return model.apply(variables, x, t, y, train=train, rngs=rngs, **kwargs)

  return build(
    "objective",
    OBJECTIVES,
    config.task,
    apply,
    build_process(config),
    null,
    config.label_dropout,
    build_augmentation(config, model),
    **config.get(config.task, {}),
  )


def _build_distillation(
  config: ml_collections.ConfigDict, model: nn.Module, pairs_seed: int | None
) -> Distillation:
  student = build_student(config, model)
  pairs_key = None if pairs_seed is None else named_key(pairs_seed, "pairs")

  def generate(params, samples):
    def noise(stream: int, shape: tuple[int, ...]) -> jax.Array:
      if pairs_key is None:  # Only the stream INITIAL is stored, and read.
        return samples["noise"]
      return SampleNoise.create(pairs_key, samples["index"])(stream, shape)

    start = SampleNoise(samples["start"])
    y, iterations = samples.get("label"), config.distillation.iterations
    return student.outputs(params, noise, start, y, iterations)

  distance, decay = config.distillation.distance, config.distillation.decay
  return Distillation(generate, distance, decay)
