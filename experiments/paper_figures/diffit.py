"""Figures of DiffiT (Hatamizadeh et al. 2024): guidance, TMSA, windows."""

import re
from collections.abc import Sequence

from quality import load_tables

from get_jax.errors import UsageError
from paper_figures.attention import draw_attention
from paper_figures.dit import draw_guidance_of_runs
from paper_figures.figure import Drawing, PaperFigure
from paper_figures.runs import load
from paper_figures.style import draw_ours, draw_published, panels


def draw_guidance(arguments: Sequence[str]) -> Drawing:
  """Figure 7a: FID against the guidance scale."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  rows = load_tables("diffit")["guidance"].rows
  for i, (row, (fid,)) in enumerate(rows.items()):
    data, _, scale = row.partition(", scale ")
    draw_published(
      axes, [(float(scale), fid)], f"DiffiT, {data}", color=f"C{i}"
    )
  draw_guidance_of_runs(axes, runs)
  axes.set(xlabel="guidance scale (1: none)", ylabel="FID")
  return Drawing(
    figure,
    [
      "Published: section 5.8, the best scale of each data set; the other "
      "points of the paper's figure have no table.",
      *(run.note() for run in runs),
    ],
  )


def draw_modulation(arguments: Sequence[str]) -> Drawing:
  """Figure 7b: TMSA and DiT's modulation during training."""
  if not arguments:
    raise UsageError(
      "diffit-7b has no table behind it, so only our runs are drawn; expected "
      "--run ROW=WORKDIR"
    )
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  for i, run in enumerate(runs):
    points = [(step / 1000, fid) for step, fid in run.curve("step")]
    draw_ours(axes, points, run.label, i)
  axes.set(xlabel="training steps, thousands", ylabel="FID")
  return Drawing(
    figure,
    [
      "The paper's figure (DiT-XL, ImageNet 256x256) has no table; only our "
      "runs are drawn.",
      *(run.note() for run in runs),
    ],
  )


def draw_windows(arguments: Sequence[str]) -> Drawing:
  """Figure 8: FID against the size of the windows."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  points: dict[str, list[tuple[int, float]]] = {}
  for row, (fid,) in load_tables("diffit")["window"].rows.items():
    match = re.fullmatch(r"(.*), window (\d+)", row)
    assert match, row
    points.setdefault(match[1], []).append((int(match[2]), fid))
  for i, (data, of_data) in enumerate(points.items()):
    draw_published(axes, of_data, f"DiffiT, {data}", color=f"C{i}")
  for i, run in enumerate(runs):
    window = run.field("window", "a DiffiT in pixels")
    draw_ours(axes, [(window, run.fid())], run.label, i)
  axes.set(
    xlabel="side of a window, positions of the feature map", ylabel="FID"
  )
  axes.set_xticks([2, 4, 8])
  return Drawing(
    figure,
    [
      "Published: Table 2 (CIFAR-10 has window 4, FFHQ window 8); the other "
      "sizes are computed from it with the percentages of section 5.10.",
      *(run.note() for run in runs),
    ],
  )


FIGURES = {
  "diffit-2": PaperFigure(
    "DiffiT, Figure 2: attention while denoising, with and without TMSA",
    draw_attention,
  ),
  "diffit-7a": PaperFigure(
    "DiffiT, Figure 7a: FID against the guidance scale", draw_guidance
  ),
  "diffit-7b": PaperFigure(
    "DiffiT, Figure 7b: TMSA and DiT's modulation during training",
    draw_modulation,
  ),
  "diffit-8": PaperFigure(
    "DiffiT, Figure 8: FID against the size of the windows", draw_windows
  ),
}
