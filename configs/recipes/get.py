"""Experiments of GET and of its ViT baseline (Geng et al. 2023, official code).

Published: FID and IS on 50,000 samples, of 6 iterations for GET, after 800,000
steps on a million pairs unless a config says otherwise. The FIDs are against
CIFAR-10's test set, about 2 above those against the training set.

Hardware: the benchmarks of Table 4 ran on 4 A6000. For models that are not in
that table, hardware and time are not stated.

Differs: the pairs are made here, by our teacher and with our noise.

The teacher is trained first, which takes longer than the student. To use other
weights, convert them and name their workdir with
--config.pairs.teacher_workdir. To use existing pairs, name their folder with
--config.pairs.directory.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import edm


def distillation(
  teacher: ConfigDict,
  model: dict[str, Any],
  *,
  count: int,
  dtype: str,
  shard_size: int,
  z0: str = "noise",
) -> ConfigDict:
  """Builds a config whose student learns from pairs of its teacher.

  Args:
    teacher: a whole experiment.
    model: section of the config.
    count: how many pairs.
    dtype: of the images in the pairs: "uint8", "float16" or "float32".
    shard_size: pairs in a file.
    z0: initial value of the equilibrium, "noise" or "zeros".
  """
  config = base()
  config.task = "distillation"
  config.teacher = teacher
  config.pairs = dict(
    count=count,
    seed=0,
    dtype=dtype,
    shard_size=shard_size,
    directory="",
    teacher_workdir="",
  )
  config.data = dict(name="pairs")
  config.model = model
  config.distillation = dict(distance="l1", decay=0.8, iterations=6, z0=z0)
  return config


def recipe(
  teacher: ConfigDict,
  model: dict[str, Any],
  pairs_dtype: str,
  *,
  count: int = 1_000_000,
  num_steps: int = 800_000,
) -> ConfigDict:
  """Builds an experiment of the paper.

  Args:
    teacher: a whole experiment.
    model: section of the config; class-conditional students have batches of
      256, the others of 128.
    pairs_dtype: "uint8", "float16" or "float32".
    count: how many pairs.
    num_steps: steps of training.
  """
  config = distillation(
    teacher, model, count=count, dtype=pairs_dtype, shard_size=10_000
  )
  config.batch_size = 256 if config.model.num_classes else 128
  config.num_steps = num_steps
  config.sampling.iterations = 6
  config.evaluation.preset = "get"
  return config


def cifar10(
  name: str,
  num_classes: int = 0,
  *,
  count: int = 1_000_000,
  num_steps: int = 800_000,
  batch_size: int = 0,
  **fields: Any,
) -> ConfigDict:
  """Builds an experiment with EDM on CIFAR-10 as the teacher.

  Args:
    name: name of the network.
    num_classes: 10 for a class-conditional student and teacher.
    count: how many pairs.
    num_steps: steps of training.
    batch_size: pairs in a step; 0: see `recipe`.
    **fields: further fields of the network.
  """
  model = dict(name=name, num_classes=num_classes, **fields)
  teacher = edm.cifar10("vp", num_classes)
  config = recipe(teacher, model, "float32", count=count, num_steps=num_steps)
  config.batch_size = batch_size or config.batch_size
  return config
