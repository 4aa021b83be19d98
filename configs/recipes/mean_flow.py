"""Experiments of MeanFlow (Geng et al. 2025, arXiv 2505.13447, and its code).

The networks are DiT with a second time embedding, for the length of the
interval. They are trained on latents, and their guidance is part of the
training: one evaluation makes a sample.

Published: FID on 50,000 samples of one step, with the ft-MSE decoder.

Hardware: TPU v4 pods.

Differs: the official FID is measured against statistics of the training set
that its code computes, here against those of ADM.
"""

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets


def imagenet(
  name: str,
  omega: float = 1.0,
  kappa: float = 0.5,
  interval: tuple[float, float] = (0.0, 1.0),
) -> ConfigDict:
  """Builds an experiment on ImageNet's latents at 256 pixels.

  Args:
    name: name of the network.
    omega: weight of the velocity of the sample; the guidance scale is
      omega / (1 - kappa).
    kappa: weight of the network's velocity with the label.
    interval: times between which the velocity is guided.
  """
  config = base()
  config.task = "mean_flow"
  config.model = dict(name=name, image_size=256)
  datasets.imagenet_latents(config, 256)
  config.process = dict(name="mean_flow")
  config.mean_flow = dict(omega=omega, kappa=kappa, interval=interval)
  config.label_dropout = 0.1
  config.batch_size = 256
  config.num_steps = 1_200_000  # 240 epochs
  config.optimizer.b2 = 0.95
  config.sampler = dict(name="mean_flow", num_steps=1)
  config.evaluation.preset = "dit"
  return config
