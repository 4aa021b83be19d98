"""Experiment of knowledge distillation with the teacher's kind of network.

The method is that of Luhman and Luhman 2021, "Knowledge Distillation in
Iterative Generative Models for Improved Sampling Speed": a network learns the
images that a deterministic sampler makes from noise.

Published: FID and IS on 50,000 samples (Geng et al. 2023, Table 1).

Hardware: not stated.

Differs: the teacher is EDM with Heun's method, in place of a DDIM; the student
is EDM's DDPM++ (55.7M parameters), starts from random parameters and trains on
the pairs of GET's experiments, in their way.
"""

from ml_collections import ConfigDict

from configs.recipes import get


def cifar10() -> ConfigDict:
  """Builds the experiment on CIFAR-10, without class labels."""
  config = get.cifar10("DDPM++-32", dropout=0.0)
  config.sampling.iterations = 1
  return config
