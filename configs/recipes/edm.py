"""Experiments of EDM (Karras et al. 2022, and the official code).

Published: FID on 50,000 samples, the lowest of three sets of samples. CIFAR-10:
18 Heun steps (35 evaluations); FFHQ and AFHQv2: 40 Heun steps (79 evaluations);
both against the training set.

Hardware: 8 V100, about 2 days on CIFAR-10 and about 4 days on FFHQ and AFHQv2;
32 A100, about 13 days on ImageNet (the authors' README).

"vp" and "ve" name the architectures DDPM++ and NCSN++; process and loss are
EDM's. The loss is summed over pixels, the first step has learning rate 0, and
gradients that are not finite are replaced, after which the step is taken.

Differs: records are read epoch by epoch.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets

NETWORKS = {"vp": "DDPM++", "ve": "NCSN++"}
RAMP_IMAGES = 10_000_000
# The official code multiplies the loss on ImageNet by 100 and never divides by
# it. Under Adam this equals an eps that is 100 times smaller.
IMAGENET_LOSS_SCALE = 100


def recipe(
  model: dict[str, Any],
  data: dict[str, Any],
  images: int,
  batch_size: int,
  learning_rate: float,
  augment: float,
  half_life_images: float = 500_000.0,
) -> ConfigDict:
  """Builds an experiment: Adam, linear warm-up, average with a half-life.

  Args:
    model: section of the config.
    data: section of the config.
    images: training images over all steps, counted with repetition.
    batch_size: images in a step.
    learning_rate: after the warm-up of 10 million images.
    augment: probability of the augmentations, 0 for none.
    half_life_images: half-life of the average of the parameters, in images.
  """
  config = base()
  config.model, config.data = model, data
  config.process = dict(name="edm")
  if augment:
    config.augmentation = dict(p=augment)
  config.batch_size = batch_size
  config.num_steps = images // batch_size
  config.optimizer.learning_rate = learning_rate
  config.optimizer.warmup_steps = RAMP_IMAGES / batch_size
  config.optimizer.nonfinite = "replace"
  config.ema = dict(half_life_images=half_life_images, rampup=0.05)
  config.sampler = dict(name="heun", num_steps=18)
  config.evaluation.preset = "edm"
  return config


def cifar10(network: str, num_classes: int = 0) -> ConfigDict:
  """Builds an experiment on CIFAR-10, architecture "vp" or "ve"."""
  model = dict(name=f"{NETWORKS[network]}-32", num_classes=num_classes)
  data = datasets.cifar10()
  return recipe(model, data, 200_000_000, 512, 1e-3, augment=0.12)


def ffhq64(network: str) -> ConfigDict:
  """Builds an experiment on FFHQ at 64 pixels, architecture "vp" or "ve"."""
  return _faces(network, datasets.ffhq64(), dropout=0.05)


def afhqv2(network: str) -> ConfigDict:
  """Builds an experiment on AFHQv2 at 64 pixels, architecture "vp" or "ve"."""
  return _faces(network, datasets.afhqv2(), dropout=0.25)


def imagenet64() -> ConfigDict:
  """Builds the experiment on ImageNet at 64 pixels, ADM's architecture."""
  config = recipe(
    dict(name="ADM-64"),
    datasets.imagenet64(),
    images=2_500_000_000,
    batch_size=4096,
    learning_rate=1e-4,
    augment=0.0,
    half_life_images=50_000_000.0,
  )
  config.optimizer.eps /= IMAGENET_LOSS_SCALE
  config.sampler = dict(
    name="heun",
    num_steps=256,
    s_churn=40.0,
    s_min=0.05,
    s_max=50.0,
    s_noise=1.003,
  )
  return config


def _faces(network: str, data: dict[str, Any], dropout: float) -> ConfigDict:
  model = dict(name=f"{NETWORKS[network]}-64", dropout=dropout)
  config = recipe(model, data, 200_000_000, 256, 2e-4, augment=0.15)
  config.sampler.num_steps = 40
  return config
