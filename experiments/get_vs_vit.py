r"""Compares GET with ViT on the same noise/image pairs.

    python experiments/get_vs_vit.py --workdir=runs/get_vs_vit
    python experiments/get_vs_vit.py --workdir=runs/get_vs_vit --seeds=0,1,2
    python experiments/get_vs_vit.py --workdir=runs/cifar10 --data=cifar10 \
      --images=cifar10.zip

A teacher is trained on the digits, or on CIFAR-10, which needs a GPU. It makes
pairs, once for each seed. GET and ViTs learn from these pairs, for several
numbers of steps. The script prints a table and writes `get_vs_vit.json` and
`get_vs_vit.png` into the workdir: FID against parameters, against training
images and against training operations (Figures 2 and 3 of the GET paper). It
continues where it stopped.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence

from get_vs_vit_students import COMPARISONS, Comparison, Student
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table
from training_runs import Costs, costs, make_pairs, score, seeds_of, spread

from get_jax.errors import UsageError
from get_jax.storage.json_files import write_json
from get_jax.storage.paths import Path, as_path


@dataclasses.dataclass(frozen=True)
class Run:
  """A trained student, over all seeds.

  Attributes:
    comparison: the comparison to which it belongs.
    student: its network.
    steps: number of training steps.
    costs: parameters and operations.
    scores: scores by name, one dict for each seed.
    images: training images.
  """

  comparison: Comparison
  student: Student
  steps: int
  costs: Costs
  scores: list[dict[str, float]]
  images: int

  @property
  def fid(self) -> float:
    """Mean FID of the seeds."""
    name = self.comparison.scores[0]
    return statistics.mean(scores[name] for scores in self.scores)

  @property
  def operations(self) -> float:
    """Operations of the whole training of the student."""
    return self.steps * self.costs.train_operations


def student_config(
  comparison: Comparison,
  student: Student,
  steps: int,
  seed: int,
  pairs: str = "",
) -> ConfigDict:
  """Returns the experiment of a student.

  Args:
    comparison: its comparison.
    student: its network.
    steps: number of training steps.
    seed: seed of the run and of its teacher.
    pairs: directory of the pairs; empty: the workdir's.
  """
  config = comparison.experiment()
  config.seed = config.teacher.seed = config.pairs.seed = seed
  config.pairs.directory = pairs
  config.num_steps = steps
  if "report" in config:
    config.report.enabled = False
  config.model = student.model
  if not student.is_get:
    config.equilibrium = {}
  return config


def run_all(
  comparison: Comparison, workdir: Path, seeds: Sequence[int]
) -> Iterator[Run]:
  """Trains and scores every student; yields the runs, over all seeds."""
  students = comparison.students
  pairs = {
    seed: make_pairs(
      student_config(comparison, students[0], 1, seed), workdir / f"seed{seed}"
    )
    for seed in seeds
  }
  for student in students:
    for steps in student.steps:
      results = []
      for seed in seeds:
        name = student.name.replace(", ", "-").replace(" ", "-")
        folder = f"{name.replace('/', '-')}-{steps}"
        config = student_config(comparison, student, steps, seed, pairs[seed])
        results.append(score(config, workdir / f"seed{seed}" / folder))
      yield Run(
        comparison,
        student,
        steps,
        costs(config),
        [result["scores"] for result in results],
        steps * config.batch_size,
      )


def table(comparison: Comparison, runs: Iterable[Run]) -> Table:
  """Returns the runs as a table."""
  rendered = Table(
    "student", "parameters", "multiply-adds", "steps", "training images",
    "training operations", *comparison.scores,
    title=f"Students on {comparison.title}",
  )  # fmt: skip
  for run in runs:
    rendered.add_row(
      run.student.name,
      f"{run.costs.parameters / 1e6:.2f}M",
      f"{run.costs.multiply_adds / 1e6:.1f}M",
      f"{run.steps:,}",
      f"{run.images:,}",
      f"{run.operations / 1e12:.1f}T",
      *[spread(s[name] for s in run.scores) for name in comparison.scores],
    )
  return rendered


def plot(comparison: Comparison, runs: Sequence[Run], path: Path) -> None:
  """Plots FID against parameters, training images and training operations."""
  figure = Figure(figsize=(12, 3.6), layout="constrained")
  by_size, by_images, by_operations = figure.subplots(1, 3)
  colours = {True: "tab:blue", False: "tab:orange"}
  for is_get, name in ((True, "GET"), (False, "ViT")):
    sizes = [
      r
      for r in runs
      if r.student.is_get == is_get and r.steps == comparison.steps
    ]
    sizes.sort(key=lambda run: run.costs.parameters)
    by_size.plot(
      [r.costs.parameters / 1e6 for r in sizes],
      [r.fid for r in sizes],
      "o-",
      color=colours[is_get],
      label=name,
    )
  by_size.set(
    xlabel="parameters, millions", title=f"{comparison.steps:,} steps"
  )
  for student in comparison.students:
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
    axes.set(ylabel=comparison.scores[0], yscale="log")
    axes.legend()
  with path.open("wb") as file:
    figure.savefig(file, format="png", dpi=120)


def main() -> None:
  """Trains what is missing, prints the table and writes figures."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", required=True, help="folder of all runs")
  parser.add_argument(
    "--data", choices=COMPARISONS, default="digits", help="default: %(default)s"
  )
  parser.add_argument(
    "--seeds", type=seeds_of, default=[0], help="such as 0,1,2 (default: 0)"
  )
  parser.add_argument(
    "--images", help="folder or zip of CIFAR-10 (default: that of TFDS)"
  )
  arguments = parser.parse_args()
  comparison = COMPARISONS[arguments.data]
  if arguments.images and arguments.data == "digits":
    parser.error("--images needs --data=cifar10; the digits are included")
  if arguments.images:
    comparison = comparison.with_images(arguments.images)
  workdir = as_path(arguments.workdir)
  try:
    runs = list(run_all(comparison, workdir, arguments.seeds))
  except UsageError as error:
    parser.error(str(error))
  Console(width=150).print(table(comparison, runs))
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
  plot(comparison, runs, workdir / "get_vs_vit.png")


if __name__ == "__main__":
  main()
