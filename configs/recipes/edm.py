"""What all experiments of EDM share (Karras et al. 2022, official code).

The loss is summed over pixels, the first step's rate is 0, gradients that are
not finite are replaced and the step is taken all the same.
"""

from configs.common import base
from configs.recipes import datasets

NETWORKS = {"vp": "DDPM++", "ve": "NCSN++"}
RAMP_IMAGES = 10_000_000


def recipe(
  model: dict,
  data: dict,
  images: int,
  batch_size: int,
  learning_rate: float,
  augment: float,
  half_life_images: float = 500_000.0,
):
  """Adam with a linear warm-up, and an average of a half-life in images.

  Args:
    model: section of the config.
    data: section of the config.
    images: how many the network is shown, over all steps.
    batch_size: images in a step.
    learning_rate: after 10 million images.
    augment: probability of the augmentations, 0 for none.
    half_life_images: of the average of the parameters.
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


def cifar10(network: str, num_classes: int = 0):
  """CIFAR-10 with the architecture "vp" or "ve"."""
  model = dict(name=f"{NETWORKS[network]}-32", num_classes=num_classes)
  data = datasets.cifar10()
  return recipe(model, data, 200_000_000, 512, 1e-3, augment=0.12)


def faces(network: str, data: dict, dropout: float):
  """FFHQ or AFHQv2 at 64 pixels with the architecture "vp" or "ve"."""
  model = dict(name=f"{NETWORKS[network]}-64", dropout=dropout)
  config = recipe(model, data, 200_000_000, 256, 2e-4, augment=0.15)
  config.sampler.num_steps = 40
  return config
