"""Line charts of metrics as SVG text, for the report page."""

import functools
import html
import io
import math
from typing import Any

# Colour of text and axes in the file that matplotlib writes. It is replaced by
# the colour of the page, which differs between light and dark mode.
_INK = "#0a0b0c"
_LINE = "#3f7fd0"
_MAX_MARKED = 30  # points that are marked, at most
# Text stays text. With a fixed salt, equal charts have equal identifiers.
_STYLE: dict[Any, Any] = {
  "svg.fonttype": "none",
  "svg.hashsalt": "get_jax",
  "font.size": 9,
  "text.color": _INK,
  "axes.edgecolor": _INK,
  "axes.labelcolor": _INK,
  "xtick.color": _INK,
  "ytick.color": _INK,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@functools.lru_cache(maxsize=64)
def line_chart(
  x: tuple[int, ...], y: tuple[float, ...], x_name: str, y_name: str
) -> str:
  """Plots one line; the charts of a page that is written again are kept.

  The y axis is logarithmic where the values are positive and span more than a
  factor of 5. Values that are not finite are left out.

  Args:
    x: positions.
    y: values, as many as positions.
    x_name: name of the x axis.
    y_name: name of the values, the title of the chart.

  Returns:
    An `<svg>` element, whose text and axes have the colour of the text around
    it.
  """
  import matplotlib
  from matplotlib import ticker
  from matplotlib.figure import Figure

  points = [p for p in zip(x, y, strict=True) if math.isfinite(p[1])]
  xs, ys = [p[0] for p in points], [p[1] for p in points]
  with matplotlib.rc_context(_STYLE):
    figure = Figure(figsize=(3.2, 2.2))
    axes = figure.add_axes((0.17, 0.2, 0.8, 0.67))
    axes.plot(xs, ys, color=_LINE, marker="." if len(xs) <= _MAX_MARKED else "")
    axes.set_xlabel(x_name)
    axes.set_title(y_name, loc="left", parse_math=False)
    axes.grid(alpha=0.2, color=_INK, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    if ys and min(ys) > 0 and max(ys) > 5 * min(ys):
      axes.set_yscale("log")
      axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
      axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
      axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
  svg = file.getvalue()
  label = html.escape(f"{y_name} against {x_name}")
  return (
    svg[svg.index("<svg") :]
    .replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    .replace(_INK, "currentColor")
  )
