r"""Draws the papers' figures: published points, and our runs over them.

    python experiments/figures.py dit-gflops --out=dit.png
    python experiments/figures.py get-3b --run "GET-Mini=runs/get_m" --out=F.png
    python experiments/figures.py attention --run "DiT=dit-digits" --out=F.png

Published points are those of the papers' tables and text, in
`experiments/published/`; none is read off a plot. `--run ROW=WORKDIR` adds a
run with the label ROW. Its scores are those of `results/evaluate.json`, or of
`results/curve.json` if the figure has the curve's setting as its axis; its
costs are counted by the program. Figures of attention and of samples load the
network of the workdir, or a published one by name.
"""

import argparse
from collections.abc import Sequence

from paper_figures import FIGURES
from paper_figures.style import finish

from get_jax.errors import UsageError, suggest


def names() -> str:
  """Returns the names of all figures with one line each."""
  lines = (f"  {name:13} {figure.title}" for name, figure in FIGURES.items())
  return "\n".join(["figures:", *lines])


def draw(name: str, runs: Sequence[str], out: str) -> None:
  """Draws a figure into a PNG.

  Args:
    name: Name of the figure.
    runs: Values ROW=WORKDIR.
    out: Path of the PNG.

  Raises:
    UsageError: There is no such figure, a run cannot be drawn, or the file
      cannot be written.
  """
  if name not in FIGURES:
    raise UsageError(
      f"figure {name!r} does not exist; {suggest(name, FIGURES)}"
    )
  figure = FIGURES[name]
  drawing = figure.draw(runs)
  try:
    finish(drawing.figure, figure.title, drawing.notes, out)
  except OSError as error:
    raise UsageError(
      f"--out: {out} cannot be written ({error.strerror or error}); expected a "
      "PNG file in a writable folder"
    ) from error


def main(arguments: Sequence[str] | None = None) -> None:
  """Draws the figure of the command line.

  Args:
    arguments: Command line arguments; None takes those of the process.
  """
  parser = argparse.ArgumentParser(
    description=__doc__,
    epilog=names(),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("name", metavar="NAME", help="name of the figure")
  parser.add_argument(
    "--run",
    action="append",
    default=[],
    metavar="ROW=WORKDIR",
    help="a run to draw, with its label; may be repeated",
  )
  parser.add_argument(
    "--out", required=True, metavar="F.png", help="the picture"
  )
  args = parser.parse_args(arguments)
  try:
    draw(args.name, args.run, args.out)
  except UsageError as error:
    parser.error(str(error))
  print(f"figure saved to {args.out}")


if __name__ == "__main__":
  main()
