r"""MeanFlow on handwritten digits (8x8 pixels, ten classes), in one step.

  python main.py --config=configs/mean_flow_digits.py \
    --workdir=runs/mean_flow_digits
"""

from ml_collections import ConfigDict

from configs.common import base, experiment
from configs.recipes import digits


@experiment
def get_config() -> ConfigDict:
  config = base()
  config.task = "mean_flow"
  config.data = dict(name="digits")
  config.model = digits.denoiser(scalars=("h",))
  config.process = dict(name="mean_flow")
  config.sampler = dict(name="mean_flow", num_steps=1)
  digits.train_and_evaluate(config, num_steps=3_000, learning_rate=1e-3)
  return config
