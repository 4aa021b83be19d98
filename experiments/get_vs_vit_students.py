"""The students that `get_vs_vit.py` compares, on two data sets."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import get_digits
from configs.recipes import digits, get


@dataclasses.dataclass(frozen=True)
class Student:
  """A network that learns from the pairs.

  Attributes:
    name: name in tables and folders.
    model: section of the config.
    steps: numbers of training steps, each a run of its own.
  """

  name: str
  model: dict[str, Any]
  steps: Sequence[int]

  @property
  def is_get(self) -> bool:
    """Whether the network has an equilibrium layer."""
    return self.model["name"].startswith("GET")


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What is compared on a data set.

  Attributes:
    title: the data set and the protocol of the scores.
    experiment: returns the experiment of a GET, with teacher and pairs.
    students: the networks.
    scores: names of the scores; the first is the FID.
    steps: of the runs that are compared by their size.
  """

  title: str
  experiment: Callable[[], ConfigDict]
  students: Sequence[Student]
  scores: Sequence[str]
  steps: int

  def with_images(self, path: str) -> "Comparison":
    """Returns the same comparison with images of a folder or zip."""

    def experiment() -> ConfigDict:
      config = self.experiment()
      config.teacher.data.path = path
      return config

    return dataclasses.replace(self, experiment=experiment)


def _get(hidden_size: int) -> dict[str, Any]:
  model = get_digits.get_config().model.to_dict()
  return model | {
    "hidden_size": hidden_size,
    "num_heads": hidden_size // 64,
  }


def _vit(depth: int) -> dict[str, Any]:
  return dict(
    digits.IMAGES, name="ViT", num_heads=3, depth=depth, num_classes=10
  )


_LENGTHS = (1_250, 2_500, 7_500)
# The ViTs of depth 2 and 7 have the parameters and the multiply-adds of GET.
# 9,000 and 27,000 steps of the smaller one need the operations of 2,500 and
# 7,500 steps of GET.
DIGITS = Comparison(
  "the digits, 5,000 samples, digits-v1",
  get_digits.get_config,
  (
    Student("GET", _get(192), _LENGTHS),
    Student("ViT, equal parameters", _vit(2), (1_250, 2_500, 9_000, 27_000)),
    Student("ViT, equal multiply-adds", _vit(7), _LENGTHS),
    Student("GET, width 128", _get(128), (2_500,)),
    Student("GET, width 256", _get(256), (2_500,)),
    Student("ViT, depth 1", _vit(1), (2_500,)),
    Student("ViT, depth 4", _vit(4), (2_500,)),
  ),
  ("fid[digits-v1]", "class_accuracy[digits-v1]"),
  2_500,
)


def _named(name: str, steps: Sequence[int] = (800_000,)) -> Student:
  return Student(name, dict(name=name, num_classes=0), steps)


_PUBLISHED = (200_000, 400_000, 800_000)
# The networks of Table 4 of the paper, and those of its Figure 2.
CIFAR10 = Comparison(
  "CIFAR-10, unconditional, 50,000 samples",
  lambda: get.cifar10("GET-M/2"),
  (
    _named("GET-T/2", _PUBLISHED),
    _named("GET-M/2", _PUBLISHED),
    _named("GET-S/2"),
    _named("GET-B/2", _PUBLISHED),
    _named("ViT-B/2", _PUBLISHED),
  ),
  ("fid", "inception_score"),
  800_000,
)

COMPARISONS = {"digits": DIGITS, "cifar10": CIFAR10}
