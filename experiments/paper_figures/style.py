"""The look of all figures, and how published points and ours are drawn."""

import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from get_jax.storage.paths import as_path, atomic_writer

PUBLISHED: dict[str, Any] = dict(
  markersize=7, markerfacecolor="white", markeredgewidth=1.6
)
OURS: dict[str, Any] = dict(
  markersize=12, markeredgecolor="black", markeredgewidth=0.8
)
# Offset in points, horizontal and vertical alignment of a name.
SIDES = {
  "right": ((8, 0), "left", "center"),
  "left": ((-8, 0), "right", "center"),
  "above": ((0, 7), "center", "bottom"),
  "below": ((0, -7), "center", "top"),
}
Point = tuple[float, float]
# Colours of our runs: not those of the published families.
OUR_COLOURS = ("tab:red", "tab:purple", "tab:brown", "tab:olive", "tab:pink")


def panels(count: int = 1, width: float = 5.6) -> tuple[Figure, list[Axes]]:
  """Returns a figure with panels side by side."""
  figure = Figure(figsize=(width * count, 4.6), layout="constrained")
  return figure, list(figure.subplots(1, count, squeeze=False)[0])


def draw_published(
  axes: Axes,
  points: Sequence[Point],
  label: str,
  names: Mapping[str, str] = MappingProxyType({}),
  **options: Any,
) -> None:
  """Draws points of a paper, hollow.

  Args:
    axes: Where to draw.
    points: Positions with their FIDs.
    label: Name of all points, for the legend.
    names: Name of each point, with the side at which it is written, a key of
      `SIDES`; empty for none.
    **options: Options of `Axes.plot`.
  """
  line: dict[str, Any] = {"marker": "o", "linestyle": "-", "label": label}
  axes.plot(*zip(*points, strict=True), **line | PUBLISHED | options)
  for (name, side), point in zip(names.items(), points, strict=False):
    offset, horizontal, vertical = SIDES[side]
    axes.annotate(
      name,
      point,
      xytext=offset,
      textcoords="offset points",
      fontsize=8,
      color="0.25",
      ha=horizontal,
      va=vertical,
    )


def draw_ours(
  axes: Axes, points: Sequence[Point], label: str, index: int
) -> None:
  """Draws the points of our run number `index`, as stars."""
  colour = OUR_COLOURS[index % len(OUR_COLOURS)]
  axes.plot(
    *zip(*points, strict=True),
    "*-",
    color=colour,
    label=f"ours: {label}",
    zorder=5,
    **OURS,
  )


def log_fid(axes: Axes) -> None:
  """Makes the vertical axis logarithmic, with plain numbers."""
  axes.set(ylabel="FID", yscale="log")
  _plain_numbers(axes.yaxis, (1, 1.5, 2, 3, 4, 5, 7))


def plain_log_x(axes: Axes, label: str) -> None:
  """Makes the horizontal axis logarithmic, with plain numbers."""
  axes.set(xlabel=label, xscale="log")
  _plain_numbers(axes.xaxis, (1, 2, 5))


def _plain_numbers(axis: Axis, multiples: Sequence[float]) -> None:
  axis.set_major_locator(LogLocator(subs=multiples))
  axis.set_major_formatter(StrMethodFormatter("{x:g}"))
  axis.set_minor_formatter(NullFormatter())


def finish(figure: Figure, title: str, notes: Sequence[str], out: str) -> None:
  """Adds title, legends and notes, and saves the figure as PNG.

  Args:
    figure: The figure.
    title: What it shows, with the number of the paper's figure.
    notes: Origin of the points, a sentence each, below the panels.
    out: Path of the PNG.
  """
  shown = None
  for axes in reversed(figure.axes):
    labels = axes.get_legend_handles_labels()[1]
    if labels:
      axes.margins(x=0.25, y=0.12)
      axes.grid(alpha=0.3)
    if labels and labels != shown:
      # Beside the panel, where it hides no points; once for equal panels.
      axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
      shown = labels
  width = int(16 * figure.get_figwidth())  # Characters of the notes.
  figure.suptitle(textwrap.fill(title, int(0.7 * width)), fontsize=11)
  lines = []
  for note in notes:
    lines += textwrap.wrap(note, width, break_on_hyphens=False)
  if lines:
    figure.supxlabel(
      "\n".join(lines), fontsize=7.5, color="0.3", x=0.01, ha="left"
    )
  with atomic_writer(as_path(out)) as file:
    figure.savefig(file, format="png", dpi=130)
