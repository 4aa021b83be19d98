"""Experiment of progressive distillation on CIFAR-10, without class labels.

Song et al. 2023, "Consistency Models", whose official code distils an EDM
denoiser on EDM's grid; Salimans and Ho 2022 is the method's first paper.

Published: FID on 50,000 samples against the training set.

Hardware: not stated.

Differs: records are read epoch by epoch.
"""

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets, edm


def cifar10() -> ConfigDict:
  """Builds the experiment, with EDM's NCSN++ as the teacher."""
  config = base()
  config.task = "progressive_distillation"
  config.teacher = edm.cifar10("ve")
  config.model = dict(name="NCSN++-32", num_classes=0, dropout=0.0)
  config.data = datasets.cifar10(flip=True)
  config.process = dict(name="edm")
  config.progressive_distillation = dict(
    start_scales=4096, steps_per_stage=50_000
  )
  config.batch_size = 512
  config.num_steps = 800_000
  config.optimizer.learning_rate = 5e-5
  config.optimizer.clip_norm = 1.0
  config.ema = dict(decay=0.0)
  config.sampler = dict(name="euler_grid", num_steps=1)
  config.evaluation.preset = "edm"
  return config
