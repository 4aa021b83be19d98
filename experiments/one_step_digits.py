r"""Trains every one-step method on the digits, with equal budgets.

    python experiments/one_step_digits.py --workdir=runs/arena
    python experiments/one_step_digits.py --workdir=runs/arena --seeds=0,1,2

Each method is trained twice for each seed. "Equal operations": as long as
`--budget` allows, the training of its teacher and the generation of its pairs
included. "Equal images": on as many images as GET sees within the budget. The
networks have equally many parameters within 10%. Methods with a teacher share
one, and those that learn from pairs share the pairs.

The script prints a table, and writes `one_step_digits.json` and the figure
`one_step_digits.png` into the workdir. It continues where it stopped. Speed is
measured at the end, for all methods in turn.
"""

import argparse
import dataclasses
import functools
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict
from one_step_figure import Row, draw
from rich.console import Console
from rich.table import Table
from training_runs import (
  Costs,
  Trained,
  costs,
  make_pairs,
  preparation,
  score,
  seconds_in_turn,
  seeds_of,
  spread,
  training_memory,
)

from configs.recipes import digits, digits_teachers
from get_jax.errors import UsageError
from get_jax.hardware.host_memory import keep_freed_memory
from get_jax.storage.json_files import write_json
from get_jax.storage.paths import Path, as_path

FID, ACCURACY = "fid[digits-v1]", "class_accuracy[digits-v1]"
BUDGET = 20e12
OPERATIONS, IMAGES = "equal operations", "equal images"
PAIRS = 32_000
MIN_STEPS = 100
LABELS = tuple(range(10)) * 2  # of the images in the figure


@dataclasses.dataclass(frozen=True)
class Method:
  """A method of the comparison.

  Attributes:
    name: name in the table.
    config: name of its experiment in `configs/`.
    settings: values that replace the experiment's, by key of the config.
    one_step: whether it belongs to the comparison; otherwise it is a reference,
      which needs many evaluations.
  """

  name: str
  config: str
  settings: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
  one_step: bool = True

  @property
  def folder(self) -> str:
    """Name of its folder in the workdir."""
    return self.name.translate({ord(" "): "-", ord("("): None, ord(")"): None})


# Of two blocks; this width makes it as large as the other networks.
_VIT = digits.IMAGES | dict(
  name="ViT", hidden_size=200, num_heads=4, depth=2, num_classes=10
)
GET = Method("GET", "get_digits")
METHODS = (
  Method("Flow matching (SiT)", "sit_digits", one_step=False),
  GET,
  Method(
    "GET (3 iterations)",
    "get_digits",
    {"distillation.iterations": 3, "sampling.iterations": 3},
  ),
  Method(
    "Distillation on pairs (ViT)",
    "knowledge_distillation_digits",
    {"model": _VIT},
  ),
  Method("Distillation on pairs (DiT)", "knowledge_distillation_digits"),
  Method("Progressive distillation", "progressive_distillation_digits"),
  Method("Consistency distillation", "consistency_distillation_digits"),
  Method("Easy consistency tuning", "easy_consistency_digits"),
  Method("Consistency training", "consistency_training_digits"),
  Method("MeanFlow", "mean_flow_digits"),
  Method("Improved MeanFlow", "improved_mean_flow_digits"),
)


def experiment_config(
  method: Method, seed: int, workdir: Path | None = None
) -> ConfigDict:
  """Returns the experiment of a method.

  Args:
    method: the method.
    seed: seed of training and pairs.
    workdir: folder of the seed, whose teacher and pairs are used; None: the
      experiment trains its teacher itself.
  """
  config = importlib.import_module(f"configs.{method.config}").get_config()
  config.seed = seed
  for key, value in method.settings.items():
    *sections, name = key.split(".")
    functools.reduce(getattr, sections, config)[name] = value
  if "teacher" in config:
    config.teacher = digits_teachers.edm_teacher()
    config.teacher.seed = seed
    if "pairs" in config:
      config.pairs.update(seed=seed, count=PAIRS)
    if workdir and "pairs" in config:
      config.pairs.directory = str(workdir / "pairs")
    elif workdir:
      config.init_from = str(workdir / "teacher")
  if "report" in config:
    config.report.enabled = False
  return config


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a method costs before and in each step of its training.

  Attributes:
    method: the method.
    before: operations of teacher and pairs.
    costs: of the network and of a training step.
    memory: bytes of a training step on one device; see `training_memory`.
  """

  method: Method
  before: float
  costs: Costs
  memory: int

  @classmethod
  def of(cls, method: Method) -> "Plan":
    """Counts the costs of a method."""
    config = experiment_config(method, 0)
    return cls(
      method, preparation(config), costs(config), training_memory(config)
    )

  def operations(self, steps: int) -> float:
    """Returns the operations of a training, with teacher and pairs."""
    return self.before + steps * self.costs.train_operations

  def steps_within(self, budget: float) -> int:
    """Returns the training steps that a budget of operations allows.

    Raises:
      UsageError: little is left after the teacher and the pairs.
    """
    steps = int((budget - self.before) / self.costs.train_operations)
    if steps < MIN_STEPS:
      raise UsageError(
        f"--budget={budget:g} leaves {max(steps, 0)} training steps for "
        f"{self.method.name}, after {self.before:.3g} operations for its "
        f"teacher and pairs; expected at least {MIN_STEPS} steps"
      )
    return steps


@dataclasses.dataclass(frozen=True)
class Run:
  """A method, trained for one of the two budgets with every seed.

  Attributes:
    plan: the method and its costs.
    budget: `OPERATIONS` or `IMAGES`.
    steps: training steps, without those of the teacher.
    scores: scores by name, one dict for each seed.
    workdirs: the run of each seed.
  """

  plan: Plan
  budget: str
  steps: int
  scores: list[dict[str, float]]
  workdirs: list[Path]

  def values(self, score: str) -> list[float]:
    """Returns a score for each seed."""
    return [scores[score] for scores in self.scores]


def methods_of(text: str) -> Sequence[Method]:
  """Returns the methods of an argument such as "GET,MeanFlow".

  Raises:
    argparse.ArgumentTypeError: there is no method of such a name.
  """
  by_name = {method.name: method for method in METHODS}
  names = text.split(",")
  unknown = [name for name in names if name not in by_name]
  if unknown:
    raise argparse.ArgumentTypeError(
      f"unknown method {unknown[0]!r}; expected some of: {', '.join(by_name)}"
    )
  return [by_name[name] for name in names]


def run_all(
  workdir: Path,
  methods: Sequence[Method],
  seeds: Sequence[int],
  budget: float,
) -> Iterator[Run]:
  """Trains and scores every method; yields the runs, over all seeds.

  Args:
    workdir: folder of all runs.
    methods: what is trained.
    seeds: seeds of the runs and their teachers.
    budget: operations of the training, with teacher and pairs.

  Raises:
    UsageError: the budget is too small for a method.
  """
  print("counting the operations of each method", flush=True)
  plans = {method: Plan.of(method) for method in {GET, *methods}}
  steps = {method: plan.steps_within(budget) for method, plan in plans.items()}
  for seed in seeds:
    make_pairs(experiment_config(GET, seed), workdir / f"seed{seed}")
  for method in methods:
    yield _run(plans[method], OPERATIONS, steps[method], workdir, seeds)
    if method.one_step:
      yield _run(plans[method], IMAGES, steps[GET], workdir, seeds)


def _run(
  plan: Plan, kind: str, steps: int, workdir: Path, seeds: Sequence[int]
) -> Run:
  """Trains and scores a method with every seed."""
  workdirs, scores = [], []
  for seed in seeds:
    folder = workdir / f"seed{seed}"
    config = experiment_config(plan.method, seed, folder)
    config.num_steps = steps
    workdirs.append(folder / f"{plan.method.folder}-{steps}")
    scores.append(score(config, workdirs[-1])["scores"])
    fid = scores[-1][FID]
    print(f"{plan.method.name}, {kind}, seed {seed}: FID {fid:.3f}", flush=True)
  return Run(plan, kind, steps, scores, workdirs)


def table(runs: Sequence[Run], seconds: dict[str, float]) -> Table:
  """Returns the runs as a table.

  Args:
    runs: the runs.
    seconds: to generate 1,000 images, by name of the method.
  """
  seeds = len(runs[0].scores)
  rendered = Table(
    "method", "FID", "accuracy", "FID", "accuracy", "evaluations",
    "multiply-adds", "seconds", "parameters", "training", "memory",
    title="One-step methods on the digits: 5,000 samples, digits-v1, "
    f"{seeds} seed{'s' * (seeds > 1)}",
  )  # fmt: skip
  rendered.add_row(
    "", *[OPERATIONS] * 2, *[IMAGES] * 2, "", "an image", "1,000 images", "",
    "operations", "MiB", style="dim",
  )  # fmt: skip
  by_key = {(run.plan.method, run.budget): run for run in runs}
  for method in dict.fromkeys(run.plan.method for run in runs):
    run = by_key[method, OPERATIONS]
    cells = []
    for kind in (OPERATIONS, IMAGES):
      own = by_key.get((method, kind))
      cells += [
        "–" if own is None else spread(own.values(score))
        for score in (FID, ACCURACY)
      ]
    plan = run.plan
    rendered.add_row(
      method.name,
      *cells,
      f"{plan.costs.evaluations}",
      f"{plan.costs.multiply_adds / 1e6:.1f}M",
      f"{seconds[method.name]:.3f}",
      f"{plan.costs.parameters / 1e6:.2f}M",
      f"{plan.operations(run.steps) / 1e12:.1f}T",
      f"{plan.memory / 2**20:.0f}",
    )
  return rendered


def to_json(run: Run, seconds: dict[str, float]) -> dict[str, Any]:
  """Returns what is stored of a run; `seconds` as for `table`."""
  plan = run.plan
  return {
    "method": plan.method.name,
    "budget": run.budget,
    "steps": run.steps,
    "operations": plan.operations(run.steps),
    "preparation_operations": plan.before,
    "memory_bytes": plan.memory,
    "seconds_per_1000_images": seconds[plan.method.name],
    **dataclasses.asdict(plan.costs),
    "scores": run.scores,
  }


def main() -> None:
  """Trains what is missing, prints the table and writes the figure."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", required=True, help="folder of all runs")
  parser.add_argument(
    "--seeds", type=seeds_of, default=[0], help="such as 0,1,2 (default: 0)"
  )
  parser.add_argument(
    "--methods",
    type=methods_of,
    default=METHODS,
    help="names of the table, separated by commas (default: all)",
  )
  parser.add_argument(
    "--budget",
    type=float,
    default=BUDGET,
    help="operations of the training of each method (default: %(default)g)",
  )
  arguments = parser.parse_args()
  keep_freed_memory()
  workdir = as_path(arguments.workdir)
  try:
    runs = list(
      run_all(workdir, arguments.methods, arguments.seeds, arguments.budget)
    )
  except UsageError as error:
    parser.error(str(error))
  full = [run for run in runs if run.budget == OPERATIONS]
  trained = {
    run.plan.method.name: Trained.load(
      experiment_config(run.plan.method, arguments.seeds[0]), run.workdirs[0]
    )
    for run in full
  }
  seconds = seconds_in_turn(trained)
  Console(width=170).print(table(runs, seconds))
  content = [to_json(run, seconds) for run in runs]
  write_json(workdir / "one_step_digits.json", content)
  rows = [
    Row(
      run.plan.method.name,
      run.plan.costs.evaluations,
      run.values(FID),
      trained[run.plan.method.name].sample(LABELS),
    )
    for run in full
  ]
  draw(rows, FID, workdir / "one_step_digits.png")
  print(f"table and figure are in {workdir}")


if __name__ == "__main__":
  main()
