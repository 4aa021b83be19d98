r"""Improved MeanFlow on handwritten digits (8x8 pixels, ten classes), in one step.

  python main.py --config=configs/improved_mean_flow_digits.py \
    --workdir=runs/improved_mean_flow_digits

Measured in one evaluation, digits-v1, 5,000 samples, one seed, 994,464
parameters in training: after 700 steps, FID 7.43, 6.35 and 5.90 with the
guidance scales w of 1.25, 1.5 and 2, accuracy 99.5% to 99.7%. A step costs
2.6 times as much as one of mean_flow_digits.py.
"""

from ml_collections import ConfigDict

from configs.common import base, experiment
from configs.recipes import digits


@experiment
def get_config() -> ConfigDict:
  config = base()
  config.task = "improved_mean_flow"
  config.data = dict(name="digits")
  config.model = dict(
    name="iMF",
    image_size=8,
    downsample=1,
    in_channels=1,
    patch_size=4,
    hidden_size=128,
    depth=3,
    head_depth=1,
    num_heads=4,
    class_tokens=1,
    guidance_tokens=1,
    interval_tokens=1,
    time_tokens=1,
    num_classes=10,
  )
  config.process = dict(
    name="mean_flow", time_distribution="uniform", equal_fraction=0.25
  )
  config.improved_mean_flow = dict(w_max=2.0, weight_power=0.5)
  config.label_dropout = 0.1
  config.sampler = dict(
    name="improved_mean_flow", num_steps=1, w=1.5, t_min=0.0, t_max=1.0
  )
  digits.train_and_evaluate(config, num_steps=1_600, learning_rate=4e-3)
  config.optimizer.b2 = 0.95
  return config
