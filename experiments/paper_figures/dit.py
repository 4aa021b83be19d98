"""Figures of DiT (Peebles and Xie 2023): scaling, decoders and guidance."""

import re
from collections.abc import Sequence

from matplotlib.axes import Axes
from published.dit import SCALING
from quality import load_tables

from paper_figures.figure import Drawing, PaperFigure
from paper_figures.runs import Run, load
from paper_figures.style import (
  OUR_COLOURS,
  draw_ours,
  draw_published,
  log_fid,
  panels,
)

SIZES = ("S", "B", "L", "XL")
PATCHES = {"8": "^", "4": "s", "2": "o"}
BATCH_SIZE = 256
# Where the names of models are written in Figure 8.
SIDES_OF_SIZES = {"S": "above", "B": "below", "L": "left", "XL": "right"}
SIDES_OF_NAMES = {"S/4": "left", "B/8": "above"}


def fid_at_400k(name: str) -> float:
  """Returns the FID of a model such as "XL/2" in Table 4."""
  return load_tables("dit")["table4"].rows[f"DiT-{name}, 400K"][0]


def gflops(name: str) -> float:
  """Returns the Gflops of a model in Table 4."""
  return float(SCALING[name][1])


def draw_gflops(arguments: Sequence[str]) -> Drawing:
  """Figure 8: FID against Gflops."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels(width=6.4)
  for i, size in enumerate(SIZES):
    names = [f"{size}/{patch}" for patch in PATCHES]
    draw_published(
      axes,
      [(gflops(name), fid_at_400k(name)) for name in names],
      f"DiT-{size}",
      {n: SIDES_OF_NAMES.get(n, SIDES_OF_SIZES[size]) for n in names},
      color=f"C{i}",
    )
  for i, run in enumerate(runs):
    draw_ours(
      axes, [(run.size.macs / 1e9, run.curve("step")[-1][1])], run.label, i
    )
  axes.set(
    xlabel="Gflops (multiply-adds) of one evaluation",
    xscale="log",
  )
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Table 4, 400,000 steps, without guidance, ft-MSE decoder.",
      *(run.note() for run in runs),
    ],
  )


def draw_compute(arguments: Sequence[str]) -> Drawing:
  """Figure 9: FID against training compute."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels(width=6.4)
  rows = load_tables("dit")["table4"].rows
  for i, size in enumerate(SIZES):
    for patch, marker in PATCHES.items():
      name = f"{size}/{patch}"
      points = [
        (3 * gflops(name) * BATCH_SIZE * 1000 * int(step[1]), values[0])
        for row, values in rows.items()
        if (step := re.fullmatch(rf"DiT-{name}, (\d+)K", row))
      ]
      draw_published(
        axes,
        points,
        f"DiT-{name}",
        color=f"C{i}",
        marker=marker,
      )
  for i, run in enumerate(runs):
    points = [
      (run.training_gmacs(step), fid) for step, fid in run.curve("step")
    ]
    draw_ours(axes, points, run.label, i)
  axes.set(
    xlabel="training compute, Gflops (3 x model x batch size x steps)",
    xscale="log",
  )
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Table 4, after 400,000 steps, and DiT-XL/2 after 2,352,000 "
      "and 7,000,000 too; the points during training have no table.",
      *(run.note() for run in runs),
    ],
  )


def draw_decoders(arguments: Sequence[str]) -> Drawing:
  """Table 5: the decoder of the autoencoder."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  rows = load_tables("dit")["table5"].rows
  bars = [(name, values[0], "C0") for name, values in rows.items()]
  for i, run in enumerate(runs):
    bars.append(
      (f"ours:\n{run.label}", run.fid(), OUR_COLOURS[i % len(OUR_COLOURS)])
    )
  names, fids, colours = zip(*bars, strict=True)
  drawn = axes.bar(names, fids, 0.6, color=colours)
  axes.bar_label(drawn, [f"{fid:.2f}" for fid in fids], padding=2)
  axes.set(xlabel="decoder", ylabel="FID")
  axes.margins(y=0.12)
  return Drawing(
    figure,
    [
      "Published: Table 5, DiT-XL/2-G with guidance 1.50, 250 DDPM steps.",
      *(run.note() for run in runs),
    ],
  )


def draw_guidance(arguments: Sequence[str]) -> Drawing:
  """Tables 2 and 3: FID against the guidance scale."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  for i, (table, pixels) in enumerate((("table2", 256), ("table3", 512))):
    rows = load_tables("dit")[table].rows.values()
    scales = (1, 1.25, 1.5)
    points = [(s, v[0]) for s, v in zip(scales, rows, strict=True)]
    draw_published(axes, points, f"DiT-XL/2, {pixels}x{pixels}", color=f"C{i}")
  draw_guidance_of_runs(axes, runs)
  axes.set(xlabel="guidance scale (1: none)")
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Tables 2 and 3; guidance on three of four channels, 250 "
      "DDPM steps, ft-EMA decoder.",
      *(run.note() for run in runs),
    ],
  )


def draw_guidance_of_runs(axes: Axes, runs: Sequence[Run]) -> None:
  """Draws FID against the guidance scale of runs."""
  for i, run in enumerate(runs):
    draw_ours(axes, run.curve("guidance.scale"), run.label, i)


FIGURES = {
  "dit-gflops": PaperFigure("DiT, Figure 8: FID against Gflops", draw_gflops),
  "dit-compute": PaperFigure(
    "DiT, Figure 9: FID against training compute", draw_compute
  ),
  "dit-decoders": PaperFigure(
    "DiT, Table 5: FID of three decoders of the latents", draw_decoders
  ),
  "dit-guidance": PaperFigure(
    "DiT, Tables 2 and 3: FID against the guidance scale", draw_guidance
  ),
}
