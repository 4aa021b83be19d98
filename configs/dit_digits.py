"""A small DiT that denoises handwritten digits (8x8 pixels, ten classes).

  python main.py --config=configs/dit_digits.py --workdir=runs/dit_digits

The teacher of get_digits.py: EDM preconditioning and loss, Heun with 18 steps.
"""

from ml_collections import ConfigDict

from configs.common import base, experiment
from configs.recipes import digits


@experiment
def get_config() -> ConfigDict:
  config = base()
  config.data = dict(name="digits")
  config.model = dict(
    name="DiT",
    **digits.IMAGES,
    depth=4,
    num_heads=3,
    num_classes=10,
    null_class=False,
    learn_sigma=False,
  )
  # DiT's sinusoid expects times up to 1000; c_noise is about -1.5 to 1.1.
  config.process = dict(
    name="edm", sigma_data=0.75, time_scale=400.0, reduction="mean"
  )
  config.sampler = dict(name="heun", num_steps=18)
  digits.train_and_evaluate(config, num_steps=1_500, learning_rate=2e-3)
  return config
