"""Builds the training objective of a config."""

from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.model import build_student
from get_jax.builders.process import build_augmentation, build_process
from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objective import Denoising
from get_jax.distillation.objective import Distillation
from get_jax.errors import UsageError
from get_jax.generation.conditioning import Conditioning
from get_jax.training.rng import named_key


def build_objective(
  config,
  model,
  pairs_seed: int | None = None,
  conditioning: Conditioning | None = None,
):
  """`objective(params, batch, key) -> (loss, metrics)` of `config.task`.

  Args:
    config: the experiment.
    model: its network.
    pairs_seed: seed of the pairs' noise, where the task is distillation; None
      takes the noise that the records hold.
    conditioning: what the network is told; None makes it from the config.

  Raises:
    UsageError: the settings contradict each other.
  """
  if config.task == "denoising":
    null = (conditioning or build_conditioning(config, model)).null
    if config.label_dropout and null is None:
      raise UsageError(
        f"label_dropout is {config.label_dropout} but {config.model.name} has "
        "no null class; expected model.null_class=True or no dropout"
      )

    conditional = model.inputs(1)[2] is not None

    def apply(params, x, t, y, key, **kwargs):
      y = y if conditional else None
      rngs = {"dropout": key}
      variables = {"params": params}
      return model.apply(variables, x, t, y, train=True, rngs=rngs, **kwargs)

    process, augment = build_process(config), build_augmentation(config, model)
    return Denoising(apply, process, null, config.label_dropout, augment)
  student = build_student(config, model)
  pairs_key = None if pairs_seed is None else named_key(pairs_seed, "pairs")

  def generate(params, samples):
    y = samples.get("label")
    if pairs_key is None:
      noise = lambda stream, shape: samples["noise"]  # noqa: E731
    else:
      noise = SampleNoise.of(pairs_key, samples["index"])
    start = SampleNoise(samples["start"])
    iterations = config.distillation.iterations
    return student.outputs(params, noise, start, y, iterations)

  distance, decay = config.distillation.distance, config.distillation.decay
  return Distillation(generate, distance, decay)
