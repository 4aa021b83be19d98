"""Experiments of U-ViT (Bao et al. 2023, and the official configs).

Published: FID on 50,000 samples, of 30,000 on MS-COCO. Guidance is given in the
paper's terms, where 0 means none: 0.4 there is 1.4 elsewhere.

Hardware (appendix, Table 2): 8 A100; 208 hours for the H models, 100 for L/2 at
256 pixels, 166 for L/4 at 512 pixels, 100 for L/4 and 59 for M/4 at 64 pixels.
4 A100 on MS-COCO; 60 hours for S/2 and 74 for the deep S/2. 4 GeForce RTX 2080
Ti, 24 hours, on CIFAR-10 and CelebA.

Differs: float32 by default, where the official code trains in float16 with a
dynamic loss scale. The nearest here is --config.model.dtype=bfloat16, which
needs no loss scale and has three bits less. On ImageNet at 64 pixels the
classes of samples are uniform, where the official ones follow their frequency.
On MS-COCO images are cropped as by ADM, where the official code scales with a
Lanczos filter.

The L models in latents have the VP process, the 3x3 convolution and the label
dropout of 0.15 of the official code; the paper's Table 1 describes the H models
only.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets


def cifar10(name: str) -> ConfigDict:
  """Builds an experiment on CIFAR-10 in pixels."""
  config = _pixels(name, datasets.cifar10(flip=True), b2=0.999)
  config.batch_size = 128
  config.optimizer.warmup_steps = 2_500
  return config


def celeba64(name: str) -> ConfigDict:
  """Builds an experiment on CelebA at 64 pixels."""
  config = _pixels(name, datasets.celeba64())
  config.batch_size = 128
  return config


def imagenet64(name: str) -> ConfigDict:
  """Builds an experiment on ImageNet at 64 pixels."""
  config = _continuous(name, datasets.imagenet64(flip=True))
  config.num_steps = 300_000
  config.optimizer.learning_rate = 3e-4
  return config


def large_latents(
  name: str, image_size: int, scale: float, num_steps: int = 500_000
) -> ConfigDict:
  """Builds an experiment of an L model on ImageNet's latents.

  Args:
    name: name of the network.
    image_size: in pixels.
    scale: of guidance, in the paper's terms.
    num_steps: steps of training.
  """
  config = _continuous(name)
  datasets.imagenet_latents(config, image_size)
  config.num_steps = num_steps
  _guide(config, label_dropout=0.15, scale=scale)
  return config


def huge_latents(name: str, image_size: int, scale: float) -> ConfigDict:
  """Builds an experiment of an H model on ImageNet's latents.

  Args:
    name: name of the network.
    image_size: in pixels.
    scale: of guidance, in the paper's terms.
  """
  config = _discrete(name)
  datasets.imagenet_latents(config, image_size)
  _guide(config, label_dropout=0.1, scale=scale)
  return config


def coco(name: str) -> ConfigDict:
  """Builds an experiment on MS-COCO's latents, conditioned on captions.

  The batch size is a fourth of that of the other experiments on latents.
  """
  config = _discrete(name)
  datasets.coco_latents(config)
  config.optimizer.b1 = config.optimizer.b2 = 0.9
  config.batch_size = 256
  config.num_steps = 1_000_000
  _guide(config, label_dropout=0.1, scale=1.0)
  # One caption of each image of the validation set.
  config.sampling.captions = "data/coco256_val_captions"
  config.evaluation.count = 30_000
  return config


def _recipe(
  name: str,
  data: dict[str, Any] | None = None,
  b1: float = 0.99,
  b2: float = 0.99,
) -> ConfigDict:
  """AdamW with weight decay on every parameter, and a linear warm-up."""
  config = base()
  config.model = dict(name=name)
  config.data = data or {}
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1, config.optimizer.b2 = b1, b2
  config.optimizer.weight_decay = 0.03
  config.optimizer.warmup_steps = 5_000
  config.batch_size = 1024
  config.num_steps = 500_000
  config.evaluation.preset = "uvit"
  return config


def _pixels(
  name: str, data: dict[str, Any] | None = None, **betas: float
) -> ConfigDict:
  """The continuous VP process, Euler-Maruyama with 1,000 steps."""
  config = _recipe(name, data, **betas)
  config.process = dict(name="vp")
  config.sampler = dict(name="euler_maruyama", num_steps=1000)
  return config


def _continuous(name: str, data: dict[str, Any] | None = None) -> ConfigDict:
  """The continuous VP process, DPM-Solver with 50 steps."""
  config = _pixels(name, data)
  config.sampler = dict(name="dpm_solver", num_steps=50)
  return config


def _discrete(name: str) -> ConfigDict:
  """Stable Diffusion's process, DPM-Solver++ with 50 steps."""
  config = _recipe(name)
  config.process = dict(name="stable_diffusion")
  config.sampler = dict(name="dpm_solver++", num_steps=50)
  return config


def _guide(config: ConfigDict, label_dropout: float, scale: float) -> None:
  """Sets classifier-free guidance in the paper's terms, where 0 means none."""
  config.label_dropout = label_dropout
  config.guidance = dict(scale=scale, convention="u-vit")
