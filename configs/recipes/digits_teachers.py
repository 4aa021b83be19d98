"""Denoisers of the digits from which other methods start."""

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import digits

# The time input is this times c_noise, about -1.5 to 1.1. A consistency function
# is compared at neighbouring noise levels: with 400, as in dit_digits.py, their
# embeddings differ much, and its FID is about twice as high. A denoiser is as
# good with both.
TIME_SCALE = 10.0


def edm_teacher() -> ConfigDict:
  """Returns the experiment of a denoiser of about a million parameters."""
  config = base()
  config.data = dict(name="digits")
  config.model = digits.denoiser()
  config.process = dict(
    name="edm", sigma_data=0.75, time_scale=TIME_SCALE, reduction="mean"
  )
  config.sampler = dict(name="heun", num_steps=10)
  digits.train_and_evaluate(config, num_steps=1_000, learning_rate=2e-3)
  return config


def guided_teacher() -> ConfigDict:
  """Returns the experiment of a denoiser that guidance can be applied to."""
  config = edm_teacher()
  config.model = digits.denoiser(null_class=True)
  config.label_dropout = 0.1
  return config
