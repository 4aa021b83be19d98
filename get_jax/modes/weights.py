"""--mode=weights: lists published weights, or fetches some."""

import sys

from rich.console import Console
from rich.table import Table

from get_jax.progress import print_ending
from get_jax.weights import fetch, find, names
from get_jax.weights.fetching import directory, is_cached
from get_jax.weights.table import format_licence, format_size, is_manual

WIDTH = 160  # characters, where the output is not a terminal


def run(weights: str | None = None, workdir: str | None = None) -> None:
  """Prints all published weights, with what is in the cache.

  Args:
    weights: name of weights to fetch into the cache instead.
    workdir: not used.

  Raises:
    UsageError: see `get_jax.weights.fetch`.
  """
  del workdir
  if weights is not None:
    print_ending("Finished", f"{weights} is in {fetch(weights)}")
    return
  table = Table(
    "name", "kind", "size", "licence", "score", "cached", title="Weights"
  )
  table.columns[0].no_wrap = True
  table.columns[2].justify = "right"
  for name in names():
    entry = find(name)
    absent = "by hand" if is_manual(entry) else "no"
    table.add_row(
      name,
      entry.kind,
      format_size(entry),
      format_licence(entry),
      entry.score,
      "yes" if is_cached(entry) else absent,
    )
  Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
  print(f"The cache is {directory()}.")
