"""Draws methods one below the other: their images and their scores."""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from get_jax.evaluation import to_uint8
from get_jax.generation.grids import tile
from get_jax.storage.paths import Path


@dataclasses.dataclass(frozen=True)
class Row:
  """A method in the figure.

  Attributes:
    name: its name.
    evaluations: network evaluations of one image.
    scores: a score for each seed; lower is better.
    images: float32 (n, H, W, C) in [-1, 1].
  """

  name: str
  evaluations: int | None
  scores: Sequence[float]
  images: np.ndarray


def draw(rows: Sequence[Row], score: str, path: Path) -> None:
  """Draws the methods, the best score first.

  Args:
    rows: the methods.
    score: name of the score.
    path: the PNG.
  """
  rows = sorted(rows, key=lambda row: statistics.mean(row.scores))
  figure = Figure(figsize=(11, 0.42 * len(rows) + 0.8), layout="constrained")
  grid = figure.add_gridspec(len(rows), 2, width_ratios=(2.6, 1), hspace=0)
  for place, row in enumerate(rows):
    axes = figure.add_subplot(grid[place, 0])
    axes.imshow(tile(to_uint8(row.images), len(row.images)), aspect="equal")
    axes.set(xticks=[], yticks=[])
    axes.set_frame_on(False)
    plural = "" if row.evaluations == 1 else "s"
    axes.set_ylabel(
      f"{row.name}\n{row.evaluations} evaluation{plural}",
      rotation=0,
      ha="right",
      va="center",
      fontsize=8,
    )
  _draw_scores(figure.add_subplot(grid[:, 1]), rows, score)
  with path.open("wb") as file:
    figure.savefig(file, format="png", dpi=130)


def _draw_scores(axes: Axes, rows: Sequence[Row], score: str) -> None:
  """Draws a dot for each seed, and the mean with its value."""
  for place, row in enumerate(rows):
    mean = statistics.mean(row.scores)
    axes.plot(row.scores, [place] * len(row.scores), "o", color="0.6", ms=4)
    axes.plot([mean], [place], "|", color="tab:blue", ms=14, mew=2)
    axes.annotate(
      f"{mean:.2f}",
      (max(row.scores), place),
      (7, 0),
      textcoords="offset points",
      va="center",
      fontsize=8,
    )
  axes.set_xscale("log")
  axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
  axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
  axes.xaxis.set_minor_formatter(NullFormatter())
  axes.tick_params(axis="x", which="both", labelsize=8)
  axes.margins(x=0.25)
  axes.set(
    ylim=(len(rows) - 0.5, -0.5), yticks=[], xlabel=f"{score}, lower is better"
  )
  axes.grid(axis="x", which="both", alpha=0.3)
