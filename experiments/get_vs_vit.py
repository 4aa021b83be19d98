r"""Compares GET with ViT on the same noise/image pairs.

    python experiments/get_vs_vit.py --workdir=runs/get_vs_vit
    python experiments/get_vs_vit.py --workdir=runs/get_vs_vit --seeds=0,1,2

A teacher is trained on the digits and makes pairs, once for each seed. GET and
ViTs of several depths learn from these pairs, for several numbers of steps. The
script prints a table and writes `get_vs_vit.json` and `get_vs_vit.png` into the
workdir: FID against parameters, against training images and against training
operations (Figures 2 and 3 of the GET paper). It continues where it stopped.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table
from training_runs import Costs, costs, make_pairs, score, seeds_of, spread

from configs import get_digits
from configs.recipes import digits
from get_jax.storage.json_files import write_json
from get_jax.storage.paths import Path, as_path

FID = "fid[digits-v1]"


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
  steps: Sequence[int] = (2_500,)

  @property
  def is_get(self) -> bool:
    """Whether the network has an equilibrium layer."""
    return self.model["name"] == "GET"


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


LENGTHS = (1_250, 2_500, 7_500)
# The ViTs of depth 2 and 7 have the parameters and the multiply-adds of GET.
# 9,000 and 27,000 steps of the smaller one need the operations of 2,500 and
# 7,500 steps of GET.
STUDENTS = (
  Student("GET", _get(192), LENGTHS),
  Student("ViT, equal parameters", _vit(2), (1_250, 2_500, 9_000, 27_000)),
  Student("ViT, equal multiply-adds", _vit(7), LENGTHS),
  Student("GET, width 128", _get(128)),
  Student("GET, width 256", _get(256)),
  Student("ViT, depth 1", _vit(1)),
  Student("ViT, depth 4", _vit(4)),
)


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained student, over all seeds.

  Attributes:
    student: its network.
    steps: number of training steps.
    costs: parameters and operations.
    scores: scores by name, one dict for each seed.
    images: training images.
  """

  student: Student
  steps: int
  costs: Costs
  scores: list[dict[str, float]]
  images: int

  @property
  def fid(self) -> float:
    """Mean FID of the seeds."""
    return statistics.mean(scores[FID] for scores in self.scores)

  @property
  def operations(self) -> float:
    """Operations of the whole training of the student."""
    return self.steps * self.costs.train_operations


def student_config(
  student: Student, steps: int, seed: int, pairs: str = ""
) -> ConfigDict:
  """Returns the experiment of a student.

  Args:
    student: its network.
    steps: number of training steps.
    seed: seed of the run and of its teacher.
    pairs: directory of the pairs; empty: the workdir's.
  """
  config = get_digits.get_config()
  config.seed = config.teacher.seed = config.pairs.seed = seed
  config.pairs.directory = pairs
  config.num_steps = steps
  config.report.enabled = False
  config.model = student.model
  if not student.is_get:
    config.equilibrium = {}
  return config


def run_all(workdir: Path, seeds: Sequence[int]) -> Iterator[Run]:
  """Trains and scores every student; yields the runs, over all seeds."""
  pairs = {
    seed: make_pairs(
      student_config(STUDENTS[0], 1, seed), workdir / f"seed{seed}"
    )
    for seed in seeds
  }
  for student in STUDENTS:
    for steps in student.steps:
      results = []
      for seed in seeds:
        folder = f"{student.name.replace(', ', '-').replace(' ', '-')}-{steps}"
        config = student_config(student, steps, seed, pairs[seed])
        results.append(score(config, workdir / f"seed{seed}" / folder))
      yield Run(
        student,
        steps,
        costs(config),
        [result["scores"] for result in results],
        steps * config.batch_size,
      )


def table(runs: Iterable[Run]) -> Table:
  """Returns the runs as a table."""
  rendered = Table(
    "student", "parameters", "multiply-adds", "steps", "training images",
    "training operations", "FID", "accuracy",
    title="Students on the digits, 5,000 samples, digits-v1",
  )  # fmt: skip
  for run in runs:
    accuracy = spread(s["class_accuracy[digits-v1]"] for s in run.scores)
    rendered.add_row(
      run.student.name,
      f"{run.costs.parameters / 1e6:.2f}M",
      f"{run.costs.multiply_adds / 1e6:.1f}M",
      f"{run.steps:,}",
      f"{run.images:,}",
      f"{run.operations / 1e12:.1f}T",
      spread(s[FID] for s in run.scores),
      accuracy,
    )
  return rendered


def plot(runs: Sequence[Run], path: Path) -> None:
  """Plots FID against parameters, training images and training operations."""
  figure = Figure(figsize=(12, 3.6), layout="constrained")
  by_size, by_images, by_operations = figure.subplots(1, 3)
  colours = {True: "tab:blue", False: "tab:orange"}
  for is_get, name in ((True, "GET"), (False, "ViT")):
    sizes = [r for r in runs if r.student.is_get == is_get and r.steps == 2_500]
    sizes.sort(key=lambda run: run.costs.parameters)
    by_size.plot(
      [r.costs.parameters / 1e6 for r in sizes],
      [r.fid for r in sizes],
      "o-",
      color=colours[is_get],
      label=name,
    )
  by_size.set(xlabel="parameters, millions", title="2,500 steps")
  for student in STUDENTS:
    own = [run for run in runs if run.student is student]
    if len(own) < 2:
      continue
    for axes, x in (
      (by_images, [run.images for run in own]),
      (by_operations, [run.operations for run in own]),
    ):
      axes.plot(x, [run.fid for run in own], "o-", label=student.name)
  by_images.set(xlabel="training images", xscale="log")
  by_operations.set(xlabel="training operations", xscale="log")
  for axes in (by_size, by_images, by_operations):
    axes.set(ylabel=FID, yscale="log")
    axes.legend()
  with path.open("wb") as file:
    figure.savefig(file, format="png", dpi=120)


def main() -> None:
  """Trains what is missing, prints the table and writes figures."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", required=True, help="folder of all runs")
  parser.add_argument("--seeds", type=seeds_of, default=[0])
  arguments = parser.parse_args()
  workdir = as_path(arguments.workdir)
  runs = list(run_all(workdir, arguments.seeds))
  Console(width=130).print(table(runs))
  content = [
    {
      "student": run.student.name,
      "steps": run.steps,
      "images": run.images,
      **dataclasses.asdict(run.costs),
      "scores": run.scores,
    }
    for run in runs
  ]
  write_json(workdir / "get_vs_vit.json", content)
  plot(runs, workdir / "get_vs_vit.png")


if __name__ == "__main__":
  main()
