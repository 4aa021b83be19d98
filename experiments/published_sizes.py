"""Prints a paper's table of model sizes with our exact counts beside it.

The scripts `sizes_<paper>.py` hold the numbers; this file counts and draws.
Multiply-adds are what the papers call flops.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from get_jax.models import create_model
from get_jax.models.counting import measure


@dataclasses.dataclass(frozen=True)
class Row:
  """A line of a table.

  Attributes:
    label: Its name in the paper.
    model: Name in our registry.
    params: Millions of parameters as printed; None where it prints none.
    macs: Billions of multiply-adds as printed; None where it prints none.
    fields: Fields of the model beside those of its name.
    more_macs: What the paper counts beside the products of matrices.
    note: What is wrong or odd about the printed numbers.
  """

  label: str
  model: str
  params: str | None = None
  macs: str | None = None
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  more_macs: int = 0
  note: str = ""


@dataclasses.dataclass(frozen=True)
class SizeTable:
  """A table of sizes.

  Attributes:
    title: Paper, number and subject of the table.
    rows: Its lines.
    position_table: Whether the paper counts the position table.
    notes: What a reader must know before comparing.
  """

  title: str
  rows: Sequence[Row]
  position_table: bool = False
  notes: str = ""


def compare(printed: str | None, exact: int, unit: float) -> tuple[str, str]:
  """Our count with a digit more than printed, and how the two agree."""
  if printed is None:
    return f"{exact / unit:,.2f}", ""
  number = Decimal(printed)
  last = Decimal(1).scaleb(number.as_tuple().exponent)
  ours = Decimal(exact) / Decimal(unit)
  if abs(ours - number) <= last / 2:
    verdict = "rounds to it"
  elif 0 < ours - number < last:
    verdict = "cut off to it"
  else:
    verdict = f"differs by {float((ours - number) / number):+.3%}"
  return f"{ours:,.{-last.as_tuple().exponent + 2}f}", verdict


def main(tables: Sequence[SizeTable]) -> None:
  """Counts and prints all tables of a paper."""
  console = Console()
  for table in tables:
    drawn = Table(title=table.title)
    for name in ("", "params, M", "ours", "", "mult-adds, G", "ours", "", ""):
      drawn.add_column(name, justify="right")
    for row in table.rows:
      size = measure(create_model(row.model, **row.fields))
      params = size.params + table.position_table * size.position_table
      drawn.add_row(
        row.label,
        row.params or "-",
        *compare(row.params, params, 1e6),
        row.macs or "-",
        *compare(row.macs, size.macs + row.more_macs, 1e9),
        row.note,
      )
    console.print(drawn)
    counted = "with" if table.position_table else "without"
    console.print(f"Parameters {counted} the position table. {table.notes}\n")
