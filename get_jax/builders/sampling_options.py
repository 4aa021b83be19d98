"""Options of sampling that a caller sets instead of config keys."""

import ml_collections

from get_jax.builders.config_check import check_config, setting_keys
from get_jax.diffusion import SAMPLERS
from get_jax.errors import UsageError, suggest


def set_sampling_options(
  config: ml_collections.ConfigDict,
  *,
  steps: int | None = None,
  guidance: float | None = None,
  sampler: str | None = None,
  iterations: int | None = None,
) -> ml_collections.ConfigDict:
  """Returns a copy of a config with these options; None keeps its own.

  Args:
    config: the experiment.
    steps: number of steps of the sampler.
    guidance: scale w of classifier-free guidance; 1 is none. It is converted to
      the convention of the config.
    sampler: name of a sampler, with its default settings unless the config has
      the same one.
    iterations: iterations of an equilibrium layer.

  Raises:
    UsageError: a value is out of range, or the sampler is unknown or has no
      number of steps.
  """
  config = ml_collections.ConfigDict(config.to_dict())
  with config.ignore_type():
    if iterations is not None:
      config.sampling.iterations = iterations
    if guidance is not None:
      is_uvit = config.guidance.get("convention") == "u-vit"
      config.guidance.scale = guidance - is_uvit
    if sampler is not None and sampler != config.sampler.name:
      if sampler not in SAMPLERS:
        raise UsageError(
          f"unknown sampler {sampler!r}: {suggest(sampler, SAMPLERS)}"
        )
      config.sampler = ml_collections.ConfigDict({"name": sampler})
    if steps is not None:
      name = config.sampler.name
      if "num_steps" not in setting_keys(SAMPLERS[name]):
        raise UsageError(
          f"steps is {steps!r}, but the sampler {name!r} chooses its steps; "
          "expected None"
        )
      config.sampler.num_steps = steps
  check_config(config)
  return config
