"""Quality against something: a picture and a JSON from one call."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import matplotlib.figure

from get_jax.errors import UsageError


def plot_curve(
  path,
  x_name: str,
  points: Sequence[tuple[float, Mapping[str, float]]],
  protocol: Mapping | None = None,
  baselines: Mapping[str, Mapping[str, float]] | None = None,
  log_x: bool = False,
) -> pathlib.Path:
  """Draws scores against training step, evaluations, guidance or the like.

  Args:
    path: The picture; its data go to the same name with `.json`.
    x_name: What varies, such as "training step".
    points: (x, scores by name) in any order; a score may be missing from
      some. Names that end in "_std[...]" are drawn as error bars.
    protocol: What all points have in common, for the JSON.
    baselines: Scores that do not vary, by whose they are ("teacher").
    log_x: Logarithmic x axis.

  Returns:
    The picture's path.

  Raises:
    UsageError: No points.
  """
  path = pathlib.Path(path).with_suffix(".png")
  points = sorted(((x, dict(scores)) for x, scores in points), key=_x)
  names = list(dict.fromkeys(name for _, scores in points for name in scores))
  names = [name for name in names if "_std[" not in name]
  if not names:
    raise UsageError(f"no scores to draw against {x_name}, expected some")
  path.parent.mkdir(parents=True, exist_ok=True)
  content = {
    "x": x_name,
    "points": [{"x": x, "scores": scores} for x, scores in points],
    "baselines": {k: dict(v) for k, v in (baselines or {}).items()},
    "protocol": dict(protocol or {}),
  }
  path.with_suffix(".json").write_text(json.dumps(content, indent=2), "utf-8")
  # A figure of its own: pyplot would keep global state and want a display.
  figure = matplotlib.figure.Figure(
    figsize=(4 * len(names), 3.2), layout="constrained"
  )
  for axes, name in zip(
    figure.subplots(1, len(names), squeeze=False)[0], names, strict=True
  ):
    _draw(axes, name, points, content["baselines"])
    axes.set(xlabel=x_name, title=name)
    if log_x:
      axes.set_xscale("log")
      axes.set_xticks([x for x, _ in points], [f"{x:g}" for x, _ in points])
      axes.minorticks_off()
    if content["baselines"]:
      axes.legend()
  figure.savefig(path, dpi=120)
  return path


def _x(point):
  return point[0]


def _draw(axes, name, points, baselines):
  here = [(x, scores) for x, scores in points if name in scores]
  spread = name.replace("[", "_std[")
  axes.errorbar(
    [x for x, _ in here],
    [scores[name] for _, scores in here],
    [scores[spread] for _, scores in here]
    if all(spread in scores for _, scores in here)
    else None,
    marker="o",
    capsize=2,
    label=name,
  )
  for i, (whose, scores) in enumerate(baselines.items()):
    if name in scores:
      axes.axhline(scores[name], linestyle="--", color=f"C{i + 1}", label=whose)
