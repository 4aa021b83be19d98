"""Plots of scores against a setting, with their data as JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from get_jax.errors import UsageError
from get_jax.storage import write_json
from get_jax.storage.paths import Path, StrPath, as_path, atomic_writer

if TYPE_CHECKING:
  from matplotlib.axes import Axes


def plot_curve(
  path: StrPath,
  x_name: str,
  points: Sequence[tuple[float, Mapping[str, float]]],
  protocol: Mapping | None = None,
  baselines: Mapping[str, Mapping[str, float]] | None = None,
  log_x: bool = False,
) -> Path:
  """Plots scores against training step, evaluations, guidance or the like.

  Args:
    path: The image file; the data are written to the same name with `.json`.
    x_name: Name of the x axis, such as "training step".
    points: (x, scores by name) in any order; a score may be missing from
      some. Names that end in "_std[...]" become error bars.
    protocol: What all points have in common, for the JSON.
    baselines: Constant scores, by the name of their origin ("teacher").
    log_x: Logarithmic x axis.

  Returns:
    Path of the image file.

  Raises:
    UsageError: There are no points.
  """
  picture = as_path(path).with_suffix(".png")
  points = sorted(((x, dict(scores)) for x, scores in points), key=_x)
  names = list(dict.fromkeys(name for _, scores in points for name in scores))
  names = [name for name in names if "_std[" not in name]
  if not names:
    raise UsageError(f"no scores to plot against {x_name}, expected some")
  baselines = {k: dict(v) for k, v in (baselines or {}).items()}
  content = {
    "x": x_name,
    "points": [{"x": x, "scores": scores} for x, scores in points],
    "baselines": baselines,
    "protocol": dict(protocol or {}),
  }
  write_json(picture.with_suffix(".json"), content)
  # Not pyplot, which keeps global state and needs a display.
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
  for axes, name in zip(
    figure.subplots(1, len(names), squeeze=False)[0], names, strict=True
  ):
    _plot_score(axes, name, points, baselines)
    axes.set(xlabel=x_name, title=name)
    if log_x:
      axes.set_xscale("log")
      axes.set_xticks([x for x, _ in points], [f"{x:g}" for x, _ in points])
      axes.minorticks_off()
    if baselines:
      axes.legend()
  with atomic_writer(picture) as file:
    figure.savefig(file, format="png", dpi=120)
  return picture


def _x(point: tuple[float, Mapping[str, float]]) -> float:
  return point[0]


def _plot_score(
  axes: "Axes",
  name: str,
  points: Sequence[tuple[float, Mapping[str, float]]],
  baselines: Mapping[str, Mapping[str, float]],
) -> None:
  points = [(x, scores) for x, scores in points if name in scores]
  std = name.replace("[", "_std[")
  axes.errorbar(
    [x for x, _ in points],
    [scores[name] for _, scores in points],
    [scores[std] for _, scores in points]
    if all(std in scores for _, scores in points)
    else None,
    marker="o",
    capsize=2,
    label=name,
  )
  for i, (label, scores) in enumerate(baselines.items()):
    if name in scores:
      axes.axhline(scores[name], linestyle="--", color=f"C{i + 1}", label=label)
