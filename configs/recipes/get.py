"""What GET's and ViT's experiments share (Geng et al. 2023, official code).

The teacher is trained first, which takes longer than the student. To use
another's weights convert them and name their workdir with
--config.pairs.teacher_workdir; to use pairs that are there already name their
folder with --config.pairs.directory.
"""

from configs.common import base
from configs.recipes import edm


def recipe(teacher, model: dict, pairs_dtype: str):
  """800,000 steps on a million pairs.

  Args:
    teacher: a whole experiment.
    model: section of the config; batches are twice as large where labels are
      told.
    pairs_dtype: "uint8", "float16" or "float32".
  """
  config = base()
  config.task = "distillation"
  config.teacher = teacher
  config.pairs = dict(
    count=1_000_000,
    seed=0,
    dtype=pairs_dtype,
    shard_size=10_000,
    directory="",
    teacher_workdir="",
  )
  config.data = dict(name="pairs")
  config.model = model
  config.distillation = dict(distance="l1", decay=0.8, iterations=6, z0="noise")
  config.batch_size = 256 if config.model.num_classes else 128
  config.num_steps = 800_000
  config.sampling.iterations = 6
  config.evaluation.preset = "get"
  return config


def cifar10(name: str, num_classes: int = 0, **fields):
  """From EDM on CIFAR-10.

  Args:
    name: of the network.
    num_classes: 10 where labels are told, to the teacher too.
    **fields: further fields of the network.
  """
  model = dict(name=name, num_classes=num_classes, **fields)
  return recipe(edm.cifar10("vp", num_classes), model, "float32")
