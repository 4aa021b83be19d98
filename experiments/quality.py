r"""Prints the papers' tables of scores, with those of our runs below the rows.

    python experiments/quality.py dit
    python experiments/quality.py dit table2 --run "DiT-XL/2=runs/dit_xl2"
    python experiments/quality.py get table2 --run "GET-Mini=runs/get_m"

With a paper alone it prints all tables of the paper. `--run` may be repeated;
it names a row and a workdir in which `--mode=evaluate` has written
`results/evaluate.json`. `experiments/published/` holds the published numbers.
"""

import argparse
import json
import math
import pathlib
import tomllib
from collections.abc import Mapping, Sequence

from published.tables import QualityTable
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from get_jax.evaluation import get_preset
from get_jax.storage.paths import as_path

PAPERS = ("diffit", "dit", "edm", "get", "uvit")


def load_tables(paper: str) -> dict[str, QualityTable]:
  """Returns the tables of a paper by name."""
  path = pathlib.Path(__file__).parent / "published" / f"{paper}.toml"
  tables = tomllib.loads(path.read_text("utf-8"))
  return {name: QualityTable(**table) for name, table in tables.items()}


def read_run(run: str, table: QualityTable) -> tuple[str, dict]:
  """Reads the results of a run given as `ROW=WORKDIR`.

  Args:
    run: Value of `--run`.
    table: The table that has the row.

  Returns:
    Name of the row, and the content of `results/evaluate.json`.

  Raises:
    ValueError: The table has no such row, or the workdir has no results.
  """
  row, _, workdir = run.rpartition("=")
  if row not in table.rows:
    raise ValueError(
      f"--run={run} names no row of the table; expected ROW=WORKDIR with a "
      f"row out of {list(table.rows)}"
    )
  path = as_path(workdir) / "results" / "evaluate.json"
  if not path.is_file():
    raise ValueError(
      f"--run={run}: {path} does not exist; run --mode=evaluate there first"
    )
  return row, json.loads(path.read_text("utf-8"))


def render(
  table: QualityTable, runs: Mapping[str, dict]
) -> list[RenderableType]:
  """Builds the printed table and the protocols of the paper and of our runs.

  Args:
    table: The published table.
    runs: Contents of `results/evaluate.json` by row.

  Returns:
    What to print, in order.
  """
  preset = get_preset(table.preset)
  rendered = Table("", *table.scores, title=table.title)
  for column in rendered.columns[1:]:
    column.justify = "right"
  for row, values in table.rows.items():
    rendered.add_row(Text(row), *map(_format, values))
    if row in runs:
      scores = {k.partition("[")[0]: v for k, v in runs[row]["scores"].items()}
      ours = [_format(scores.get(score)) for score in table.scores]
      rendered.add_row(Text("  ours"), *ours, style="bold")
  repeats = f", lowest of {preset.repeats}" if preset.repeats > 1 else ""
  lines = [
    f"Published: {preset.count} samples{repeats}, {preset.preprocessing} "
    f"preprocessing, against {preset.reference}."
  ]
  lines += [table.notes] if table.notes else []
  for row, results in runs.items():
    protocol = results["protocol"]
    settings = ", ".join(f"{k} {v}" for k, v in protocol.items() if v)
    lines.append(f"Ours, {row}: {settings}.")
    extractor = f"inception-{preset.preprocessing}"
    if protocol.get("extractor") != extractor:
      lines.append(
        f"Ours, {row}, is not comparable: measured with "
        f"{protocol.get('extractor')!r}, the paper used {extractor!r}."
      )
  return [rendered, *map(Text, lines)]


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints one table of a paper, or all.

  Args:
    arguments: Command line arguments; None takes those of the process.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("paper", choices=PAPERS)
  parser.add_argument("table", nargs="?", help="name of one table")
  parser.add_argument(
    "--run",
    action="append",
    default=[],
    metavar="ROW=WORKDIR",
    help="an evaluated workdir and the row that it reproduces",
  )
  args = parser.parse_args(arguments)
  tables = load_tables(args.paper)
  if args.table is not None and args.table not in tables:
    parser.error(
      f"{args.paper} has no table {args.table!r}; expected one of "
      f"{list(tables)}"
    )
  if args.run and args.table is None:
    parser.error("--run needs the name of a table")
  names = [args.table] if args.table else list(tables)
  console = Console()
  for name in names:
    try:
      runs = dict(read_run(run, tables[name]) for run in args.run)
    except ValueError as error:
      parser.error(str(error))
    for part in render(tables[name], runs):
      console.print(part)


def _format(value: float | None) -> str:
  return "-" if value is None or math.isnan(value) else f"{value:.2f}"


if __name__ == "__main__":
  main()
