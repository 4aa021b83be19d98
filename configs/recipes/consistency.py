"""Experiments of consistency models on CIFAR-10, without class labels.

Consistency training and distillation: Song et al. 2023 and the official code;
improved consistency training: Song and Dhariwal 2023; easy consistency tuning:
Geng et al. 2024 and the official code.

Published: FID on 50,000 samples against the training set, of one and of two
steps; the second step is `--config.sampler.num_steps=2
--config.sampler.sigmas=0.821,`.

Hardware: A100 (consistency training, improved or not, and distillation); not
stated for easy consistency tuning.

Differs: the LPIPS distance, with which the figures of consistency training and
distillation were obtained, is replaced by the squared error, an option of the
official code. The second noise level of those two is a search there.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets, edm

MIDDLE_SIGMA = 0.821


def improved(end_scales: int, schedule_steps: int) -> dict[str, Any]:
  """Returns the section of improved consistency training.

  Args:
    end_scales: number of intervals between noise levels at the end.
    schedule_steps: steps over which their number doubles from 10.
  """
  return dict(
    distance="huber",
    weighting="inverse_step",
    schedule="doubling",
    start_scales=10,
    end_scales=end_scales,
    schedule_steps=schedule_steps,
    start_decay=0.0,
  )


def cifar10(
  task: str,
  network: str,
  batch_size: int,
  num_steps: int,
  learning_rate: float,
  dropout: float,
  flip: bool,
  ema: float = 0.9999,
) -> ConfigDict:
  """Builds an experiment: rectified Adam with a constant learning rate.

  Args:
    task: task of the config.
    network: architecture, "DDPM++" or "NCSN++".
    batch_size: images in a step.
    num_steps: steps of training.
    learning_rate: of the optimizer.
    dropout: dropout probability.
    flip: whether images are mirrored with probability 1/2.
    ema: decay of the average of the parameters.
  """
  config = base()
  config.task = task
  config.model = dict(name=f"{network}-32", num_classes=0, dropout=dropout)
  config.data = datasets.cifar10(flip)
  config.process = dict(name="consistency")
  config.batch_size = batch_size
  config.num_steps = num_steps
  config.optimizer.learning_rate = learning_rate
  config.optimizer.rectified = True
  config.ema = dict(decay=ema)
  config.sampler = dict(name="consistency", num_steps=1)
  config.evaluation.preset = "edm"
  return config


def training() -> ConfigDict:
  """Builds the experiment of consistency training."""
  return cifar10(
    "consistency_training", "NCSN++", 512, 800_000, 4e-4, 0.0, flip=True
  )


def improved_training() -> ConfigDict:
  """Builds the experiment of improved consistency training."""
  config = cifar10(
    "consistency_training",
    "NCSN++",
    1024,
    400_000,
    1e-4,
    0.3,
    flip=True,
    ema=0.99993,
  )
  config.model.fourier_scale = 0.02
  config.process.distribution = "log_normal"
  config.consistency_training = improved(1280, 400_000)
  return config


def distillation() -> ConfigDict:
  """Builds the experiment of consistency distillation."""
  config = cifar10(
    "consistency_distillation", "NCSN++", 512, 800_000, 4e-4, 0.0, flip=True
  )
  config.teacher = edm.cifar10("ve")
  return config


def easy_tuning() -> ConfigDict:
  """Builds the experiment of easy consistency tuning."""
  config = cifar10(
    "easy_consistency", "DDPM++", 128, 200_000, 1e-4, 0.2, flip=False
  )
  config.init_from = "edm-cifar10-32x32-uncond-vp"
  config.process = dict(name="edm", p_mean=-1.1, p_std=2.0)
  config.easy_consistency = dict(stage_steps=25_000)
  return config
