"""Prints a paper's table of results with our runs beside its rows.

The scripts `quality_<paper>.py` hold the numbers; this file draws. A run is a
workdir in which `--mode=evaluate` has left `results/evaluate.json`.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from get_jax.evaluation import get_preset


@dataclasses.dataclass(frozen=True)
class PublishedTable:
  """A table of scores.

  Attributes:
    title: Paper, number and subject of the table.
    preset: The paper's way of measuring, a key of
      `get_jax.evaluation.PRESETS`.
    scores: Names of the columns.
    rows: Values of each row in the order of `scores`; None where the paper
      gives none.
    notes: What a reader must know before comparing.
  """

  title: str
  preset: str
  scores: tuple[str, ...]
  rows: Mapping[str, tuple[float | None, ...]]
  notes: str = ""


def main(tables: Mapping[str, PublishedTable]) -> None:
  """Prints one table, or all.

  Args:
    tables: Tables of a paper by the names that the command line takes.
  """
  parser = argparse.ArgumentParser()
  parser.add_argument("table", nargs="?", choices=list(tables))
  parser.add_argument(
    "--run",
    action="append",
    default=[],
    metavar="ROW=WORKDIR",
    help="an evaluated workdir and the row that it repeats",
  )
  args = parser.parse_args()
  if args.run and args.table is None:
    parser.error("--run needs the name of a table")
  names = [args.table] if args.table else list(tables)
  console = Console()
  for name in names:
    try:
      runs = dict(read_run(run, tables[name]) for run in args.run)
    except ValueError as error:
      parser.error(str(error))
    for part in draw(tables[name], runs):
      console.print(part)


def read_run(run: str, table: PublishedTable) -> tuple[str, dict]:
  """The row and the results of a `ROW=WORKDIR`.

  Raises:
    ValueError: No such row, or nothing evaluated there.
  """
  row, _, workdir = run.rpartition("=")
  if row not in table.rows:
    raise ValueError(
      f"--run={run} names no row of the table, expected one of "
      f"{list(table.rows)}, then = and a workdir"
    )
  path = pathlib.Path(workdir) / "results" / "evaluate.json"
  if not path.is_file():
    raise ValueError(f"--run={run}: no {path}; run --mode=evaluate there first")
  return row, json.loads(path.read_text("utf-8"))


def draw(table: PublishedTable, runs: Mapping[str, dict]) -> list:
  """What to print: the table, how the paper measured, how we did."""
  preset = get_preset(table.preset)
  drawn = Table("", *table.scores, title=table.title)
  for column in drawn.columns[1:]:
    column.justify = "right"
  for row, values in table.rows.items():
    drawn.add_row(Text(row), *map(_number, values))
    if row in runs:
      scores = {k.partition("[")[0]: v for k, v in runs[row]["scores"].items()}
      ours = [_number(scores.get(score)) for score in table.scores]
      drawn.add_row(Text("  ours"), *ours, style="bold")
  tries = f", least of {preset.repeats}" if preset.repeats > 1 else ""
  lines = [
    f"Published: {preset.count} samples{tries}, {preset.preprocessing} "
    f"preprocessing, against {preset.reference}."
  ]
  lines += [table.notes] if table.notes else []
  for row, results in runs.items():
    facts = ", ".join(f"{k} {v}" for k, v in results["protocol"].items() if v)
    lines.append(f"Ours, {row}: {facts}.")
    name = f"inception-{preset.preprocessing}"
    if results["protocol"].get("extractor") != name:
      lines.append(
        f"Ours, {row}, does not compare: measured by "
        f"{results['protocol'].get('extractor')!r}, the paper by {name!r}."
      )
  return [drawn, *map(Text, lines)]


def _number(value: float | None) -> str:
  return "-" if value is None else f"{value:.2f}"
