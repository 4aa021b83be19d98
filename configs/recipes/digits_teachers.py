"""Denoisers of the digits from which other methods start."""

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import digits


def edm_teacher() -> ConfigDict:
  """Returns the experiment of a denoiser of about a million parameters."""
  config = base()
  config.data = dict(name="digits")
  config.model = digits.denoiser()
  # DiT's sinusoid expects times up to 1000; c_noise is about -1.5 to 1.1.
  config.process = dict(
    name="edm", sigma_data=0.75, time_scale=400.0, reduction="mean"
  )
  config.sampler = dict(name="heun", num_steps=18)
  digits.train_and_evaluate(config, num_steps=1_000, learning_rate=2e-3)
  return config


def guided_teacher() -> ConfigDict:
  """Returns the experiment of a denoiser that guidance can be applied to."""
  config = edm_teacher()
  config.model = digits.denoiser(null_class=True)
  config.label_dropout = 0.1
  return config
