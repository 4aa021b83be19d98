"""Experiments of DiffiT (Hatamizadeh et al. 2024).

Published: FID and IS on 50,000 samples. In pixels, 18 (CIFAR-10) or 40 (FFHQ)
Heun steps, against the training set; in latents, 250 DDPM steps with the ft-EMA
decoder (the paper and the authors' code).

Hardware: 8 A100 in pixels, not given in latents; the training time is not
given.

Differs: the training code is not public, nor any code of the networks in
pixels. The choices made for these are listed in get_jax/models/diffit_image.py;
they train by EDM's recipe. For their training the paper says 200,000
iterations, perhaps a reading of EDM's 200,000 thousand images. In latents the
paper gives the learning rate, the batch size and the decay of the average; the
rest of the recipe is DiT's, the number of steps included: AdamW without weight
decay, a constant learning rate, the learned variance, labels dropped with
probability 0.1. The published networks have 28 blocks, not the 30 of the text.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.recipes import datasets, dit, edm

ITERATIONS = 200_000


def cifar10() -> ConfigDict:
  """Builds the experiment on CIFAR-10 in pixels."""
  model = dict(name="DiffiT-CIFAR-10")
  images = ITERATIONS * 512
  config = edm.recipe(
    model, datasets.cifar10(), images, 512, 1e-3, augment=0.12
  )
  config.evaluation.preset = "diffit"
  return config


def ffhq64() -> ConfigDict:
  """Builds the experiment on FFHQ at 64 pixels."""
  model = dict(name="DiffiT-FFHQ-64")
  images = ITERATIONS * 256
  config = edm.recipe(model, datasets.ffhq64(), images, 256, 2e-4, augment=0.15)
  config.sampler.num_steps = 40
  config.evaluation.preset = "diffit"
  return config


def imagenet(
  image_size: int,
  num_steps: int,
  guidance: dict[str, Any],
  learning_rate: float = 1e-4,
  batch_size: int = 256,
) -> ConfigDict:
  """Builds an experiment on ImageNet's latents.

  Args:
    image_size: in pixels, 256 or 512.
    num_steps: steps of training.
    guidance: section of the config.
    learning_rate: constant.
    batch_size: images in a step.
  """
  config = dit.imagenet(f"DiffiT-{image_size}", image_size, num_steps)
  config.optimizer.learning_rate = learning_rate
  config.batch_size = batch_size
  config.guidance = guidance
  config.evaluation.preset = "diffit"
  return config
