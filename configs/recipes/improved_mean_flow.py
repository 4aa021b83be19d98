"""Experiments of improved MeanFlow (Geng et al. 2025, arXiv 2512.02012).

The network takes the guidance scale and its interval as inputs, so that samples
choose them. Settings are those of the official code.

Published: FID on 50,000 samples of one step, with the ft-MSE decoder: the
official code's figure, then the paper's; IS of the official code.

Hardware: TPU pods.

Differs: the official FID is measured against statistics of the training set
that its code computes, here against those of ADM.
"""

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets

EPOCH = 1_281_167 / 1024


def imagenet(name: str, w: float, interval: tuple[float, float]) -> ConfigDict:
  """Builds an experiment on ImageNet's latents at 256 pixels.

  Args:
    name: name of the network.
    w: guidance scale of the samples.
    interval: times between which samples are guided.
  """
  config = base()
  config.task = "improved_mean_flow"
  config.model = dict(name=name, image_size=256)
  datasets.imagenet_latents(config, 256)
  config.process = dict(name="mean_flow", equal_fraction=0.5)
  config.label_dropout = 0.1
  config.batch_size = 1024
  config.num_steps = round(640 * EPOCH)
  config.optimizer.warmup_steps = float(round(10 * EPOCH))
  config.optimizer.b2 = 0.95
  config.sampler = dict(
    name="improved_mean_flow",
    num_steps=1,
    w=w,
    t_min=interval[0],
    t_max=interval[1],
  )
  config.evaluation.preset = "dit"
  return config
