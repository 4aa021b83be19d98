r"""Prints the published one-step methods, with our runs between them.

    python experiments/one_step.py cifar10
    python experiments/one_step.py cifar10 --run "GET-Base=runs/get_base"

`--run` may be repeated; it names a row and a workdir in which
`--mode=evaluate` has written `results/evaluate.json`. The row may be one of the
table, below which the run is printed, or a new one. Parameters and operations
of runs are counted from their configs. `experiments/published/one_step.toml`
holds the published numbers.
"""

import argparse
import dataclasses
import math
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text
from training_runs import Costs, costs, preparation

from get_jax.errors import UsageError
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import as_path
from get_jax.training.workdir import read_config

PUBLISHED = pathlib.Path(__file__).parent / "published" / "one_step.toml"
PUBLISHED_SAMPLES = 50_000
TABLES: dict[str, dict[str, Any]] = tomllib.loads(PUBLISHED.read_text("utf-8"))


@dataclasses.dataclass(frozen=True)
class Run:
  """An evaluated run.

  Attributes:
    row: name of its row.
    scores: scores by name, without the name of the extractor.
    protocol: how they were computed.
    costs: parameters and operations of the network.
    operations: of the whole training, with teachers and pairs.
  """

  row: str
  scores: Mapping[str, float]
  protocol: Mapping[str, Any]
  costs: Costs
  operations: float

  @classmethod
  def read(cls, argument: str) -> "Run":
    """Reads the run of `--run=ROW=WORKDIR`.

    Raises:
      UsageError: the argument is of another form, or the workdir has no config
        or no scores.
    """
    row, separator, workdir = argument.rpartition("=")
    if not (separator and row):
      raise UsageError(f"--run={argument}; expected ROW=WORKDIR")
    path = as_path(workdir) / "results" / "evaluate.json"
    if not path.is_file():
      raise UsageError(
        f"--run={argument}: {path} does not exist; run --mode=evaluate there "
        "first"
      )
    results = read_json_object(path, "scores")
    config = read_config(workdir)
    own = costs(config)
    return cls(
      row,
      {name.partition("[")[0]: v for name, v in results["scores"].items()},
      results["protocol"],
      own,
      _operations(config, own),
    )


def _operations(config: ConfigDict, own: Costs) -> float:
  return preparation(config) + config.num_steps * own.train_operations


def render(name: str, runs: Sequence[Run]) -> list[Table | Text]:
  """Returns the table and its notes.

  Args:
    name: a key of `TABLES`.
    runs: runs, in the order in which they are printed.
  """
  content = TABLES[name]
  rendered = Table(
    "method", "evaluations", "FID", "IS", "parameters", "multiply-adds",
    "training", "source", title=content["title"],
  )  # fmt: skip
  own = {run.row: run for run in runs}
  for row, (evaluations, fid, inception_score, source) in content[
    "rows"
  ].items():
    rendered.add_row(
      row, str(evaluations), _score(fid), _score(inception_score), "", "", "",
      source,
    )  # fmt: skip
    if row in own:
      _add(rendered, own.pop(row))
  for run in own.values():
    _add(rendered, run)
  lines = [Text(content["notes"])]
  for run in runs:
    settings = ", ".join(f"{k} {v}" for k, v in run.protocol.items() if v)
    lines.append(Text(f"{run.row}, ours: {settings}."))
    extractor, samples = map(run.protocol.get, ("extractor", "samples"))
    if "inception" not in str(extractor) or samples != PUBLISHED_SAMPLES:
      lines.append(
        Text(
          f"{run.row}, ours, is not comparable: measured with {extractor} on "
          f"{samples} samples; published with Inception on "
          f"{PUBLISHED_SAMPLES}."
        )
      )
  return [rendered, *lines]


def _add(table: Table, run: Run) -> None:
  table.add_row(
    f"{run.row}, ours",
    str(run.costs.evaluations),
    _score(run.scores.get("fid")),
    _score(run.scores.get("inception_score")),
    f"{run.costs.parameters / 1e6:.1f}M",
    f"{run.costs.multiply_adds / 1e9:.3g}G",
    f"{run.operations:.3g}",
    "",
    style="bold",
  )


def _score(value: float | None) -> str:
  return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints a table.

  Args:
    arguments: command line arguments; None takes those of the process.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("data", choices=TABLES)
  parser.add_argument(
    "--run",
    action="append",
    default=[],
    metavar="ROW=WORKDIR",
    help="an evaluated workdir and the name of its row",
  )
  options = parser.parse_args(arguments)
  try:
    runs = [Run.read(run) for run in options.run]
  except UsageError as error:
    parser.error(str(error))
  for part in render(options.data, runs):
    Console(width=130).print(part)


if __name__ == "__main__":
  main()
