"""Tables of settings and scores, for the report page."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from get_jax.jobs.metric_writer import flatten

# Fields of a protocol that are shown below scores; the page has all of them in
# a table of its own.
_SHORT_PROTOCOL = (
  "samples",
  "seed",
  "weights",
  "sampler",
  "steps",
  "evaluations",
  "guidance",
  "decoder",
  "extractor",
  "reference",
  "reference_count",
  "preset",
)


@dataclasses.dataclass(frozen=True)
class Cell:
  """One value of a table.

  Attributes:
    text: the value as it is shown.
    exact: the value as JSON has it.
  """

  text: str
  exact: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
  """A table; the first column has the names of the rows.

  Attributes:
    title: title of the table.
    rows: name and cells of each row.
    header: names of the columns, the first one included; empty: none.
    notes: lines below the table.
  """

  title: str
  rows: Sequence[tuple[str, Sequence[Cell]]]
  header: Sequence[str] = ()
  notes: Sequence[str] = ()


def settings_table(title: str, values: Mapping[str, Any]) -> Table:
  """Returns a table with a row for every value of nested mappings."""
  rows = [
    (key, [Cell(value if isinstance(value, str) else json.dumps(value))])
    for key, value in flatten(values)
  ]
  return Table(title, rows)


def comparison_tables(report: Mapping[str, Any]) -> list[Table]:
  """Returns the tables of results/report.json: student and teacher."""
  names = ("GET", "teacher")
  results = [report[name] for name in names]
  rows = [
    (score, [_score_cell(result["scores"], score) for result in results])
    for score in score_names(results[0]["scores"])
  ]
  rows.append(
    (
      "network evaluations per image",
      [_cell(result["protocol"]["evaluations"]) for result in results],
    )
  )
  rows.append(
    (
      "seconds per 1,000 images",
      [_cell(result["seconds_per_1000_images"]) for result in results],
    )
  )
  notes = [
    f"{name}: {_protocol_note(result['protocol'])}"
    for name, result in zip(names, results, strict=True)
  ]
  by_count = [
    (n, result["scores"]) for n, result in report["iterations"].items()
  ]
  return [
    Table("Student and teacher", rows, ("", *names), notes),
    _points_table("GET by equilibrium iterations", "iterations", by_count),
  ]


def evaluation_table(result: Mapping[str, Any]) -> Table:
  """Returns the table of results/evaluate.json."""
  scores = result["scores"]
  rows = [(name, [_score_cell(scores, name)]) for name in score_names(scores)]
  notes = [_protocol_note(result["protocol"])]
  return Table("Evaluation", rows, ("", "score"), notes)


def curve_table(curve: Mapping[str, Any]) -> Table:
  """Returns the table of results/curve.json."""
  over, protocol = curve["over"], curve["protocol"]
  table = _points_table(f"Scores by {over}", over, curve["points"])
  return dataclasses.replace(table, notes=[_protocol_note(protocol)])


def _points_table(
  title: str, x_name: str, points: Sequence[tuple[Any, Mapping[str, float]]]
) -> Table:
  """Returns a table with one row per value of x and one column per score."""
  every = {name: 0.0 for _, scores in points for name in scores}
  names = score_names(every)
  rows = [
    (str(x), [_score_cell(scores, name) for name in names])
    for x, scores in points
  ]
  return Table(title, rows, (x_name, *names))


def score_names(scores: Mapping[str, float]) -> list[str]:
  """Returns the names of scores without their standard deviations."""
  return [name for name in scores if "_std[" not in name]


def _score_cell(scores: Mapping[str, float], name: str) -> Cell:
  """Returns a score, with its standard deviation if it has one."""
  cell = _cell(scores.get(name))
  deviation = scores.get(name.replace("[", "_std["))
  if not deviation:
    return cell
  return Cell(f"{cell.text} ± {deviation:.2g}", f"{cell.exact} ± {deviation}")


def _protocol_note(protocol: Mapping[str, Any]) -> str:
  fields = [(key, protocol.get(key)) for key in _SHORT_PROTOCOL]
  return ", ".join(
    f"{key.replace('_', ' ')} {value}" for key, value in fields if value
  )


def _cell(value: float | None) -> Cell:
  """Returns a figure, rounded for reading."""
  if value is None:
    return Cell("–")
  exact = json.dumps(value)
  if isinstance(value, float) and abs(value) < 1e15:
    text = f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return Cell(text, exact)
  return Cell(f"{value:,}" if isinstance(value, int) else exact, exact)
