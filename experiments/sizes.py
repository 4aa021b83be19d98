"""Prints the papers' tables of model sizes, with our exact counts.

    python experiments/sizes.py dit

Multiply-adds are what the papers call flops. `experiments/published/` holds
the published numbers. For DiffiT the output shapes of the layers (Tables S.2
and S.3) follow.
"""

import argparse
import importlib
from collections.abc import Sequence
from decimal import Decimal

import jax
from published.tables import SizeTable
from rich.console import Console
from rich.table import Table

from get_jax.models import create_model
from get_jax.models.counting import model_size
from get_jax.models.parameters import abstract_params

PAPERS = ("diffit", "dit", "get", "uvit")


def load_tables(paper: str) -> Sequence[SizeTable]:
  """Returns the tables of a paper."""
  return importlib.import_module(f"published.{paper}").SIZES


def compare(printed: str | None, exact: int, unit: float) -> tuple[str, str]:
  """Compares an exact count with a printed number.

  Args:
    printed: The number in the paper; None where it prints none.
    exact: Our count.
    unit: Unit of the printed number, such as 1e6.

  Returns:
    Our count in that unit with two digits more than printed, and whether it
    rounds to the printed number, is truncated to it, or differs.
  """
  if printed is None:
    return f"{exact / unit:,.2f}", ""
  number = Decimal(printed)
  exponent = number.as_tuple().exponent
  assert isinstance(exponent, int), f"{printed} is not finite"
  last_digit = Decimal(1).scaleb(exponent)
  ours = Decimal(exact) / Decimal(unit)
  if abs(ours - number) <= last_digit / 2:
    verdict = "rounds to it"
  elif 0 < ours - number < last_digit:
    verdict = "truncated to it"
  else:
    verdict = f"differs by {float((ours - number) / number):+.3%}"
  return f"{ours:,.{2 - exponent}f}", verdict


def render(table: SizeTable) -> Table:
  """Counts the models of a table and builds the printed table."""
  rendered = Table(title=table.title)
  for name in ("", "params, M", "ours", "", "mult-adds, G", "ours", "", ""):
    rendered.add_column(name, justify="right")
  for row in table.rows:
    model = create_model(row.model, **row.fields)
    size = model_size(model)
    params = size.params + table.position_table * size.position_table
    extra = row.extra_macs
    if callable(extra):
      extra = extra(model)
    rendered.add_row(
      row.label,
      row.params or "-",
      *compare(row.params, params, 1e6),
      row.macs or "-",
      *compare(row.macs, size.macs + extra, 1e9),
      row.note,
    )
  return rendered


def diffit_layer_shapes(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
  """Returns the output shapes (H, W, C) of layers of DiffiT's FFHQ network.

  Args:
    names: Names of the layers in the model.
  """
  model = create_model("DiffiT-FFHQ-64")

  def run(params, *inputs):
    return model.apply(
      {"params": params},
      *inputs,
      capture_intermediates=lambda module, _: module.name in names,
      mutable=["intermediates"],
    )[1]["intermediates"]

  outputs = jax.eval_shape(run, abstract_params(model), *model.inputs(1))
  return {name: outputs[name]["__call__"][0].shape[1:] for name in names}


def render_diffit_layers() -> Table:
  """Builds DiffiT's Tables S.2 and S.3 with our shapes."""
  published = importlib.import_module("published.diffit").FFHQ64_LAYERS
  table = Table(
    "component", "printed", "ours", "", title="DiffiT, Tables S.2 and S.3"
  )
  for name, shape in diffit_layer_shapes(list(published)).items():
    component, printed = published[name]
    note = "" if shape == printed else "misprint: resampling keeps channels"
    table.add_row(component, str(printed), str(shape), note)
  return table


def main(arguments: Sequence[str] | None = None) -> None:
  """Counts and prints all tables of the paper that the command line names."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("paper", choices=PAPERS)
  args = parser.parse_args(arguments)
  console = Console()
  for table in load_tables(args.paper):
    console.print(render(table))
    counted = "with" if table.position_table else "without"
    console.print(f"Parameters {counted} the position table. {table.notes}\n")
  if args.paper == "diffit":
    console.print(render_diffit_layers())


if __name__ == "__main__":
  main()
