"""Figures of GET (Geng et al. 2023): efficiency, and samples by class."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from quality import load_tables

from get_jax import Pipeline
from get_jax.errors import UsageError
from get_jax.generation.grids import tile
from get_jax.models import create_model
from get_jax.models.counting import ModelSize, model_size
from paper_figures.figure import Drawing, PaperFigure
from paper_figures.runs import load, parse
from paper_figures.style import (
  draw_ours,
  draw_published,
  log_fid,
  panels,
  plain_log_x,
)

# Rows of Table 2, by the names of the networks.
GETS = {
  "GET-Tiny": "GET-T/2",
  "GET-Mini": "GET-M/2",
  "GET-Small": "GET-S/2",
  "GET-Base": "GET-B/2",
  "GET-Base+": "GET-B+/2",
}
BATCH_SIZE, STEPS = 128, 800_000  # Section 4.1
IMAGES = BATCH_SIZE * STEPS
# "More training" of Table 2: multiples of these images.
LONGER = {
  "GET-Tiny": ("GET-Tiny, 4x iterations", 4),
  "GET-Base": ("GET-Base, 2x batch", 2),
}
# Data budgets of online distillation, section 4.2, by rows of Table 1.
ONLINE = {"PD": 96e6, "TRACT-EDM": 256e6, "CD-EDM (LPIPS)": 409.6e6}
SAMPLES_PER_CLASS = 10
# Where names are written; the others to the left.
SIDES_OF_NAMES = {
  "GET-Base": "right",
  "GET-Base+": "below",
  "ViT-Base": "right",
}


def sides(names: Iterable[str]) -> dict[str, str]:
  """Returns where names are written, for `draw_published`."""
  return {name: SIDES_OF_NAMES.get(name, "left") for name in names}


@functools.cache
def size_of(name: str) -> ModelSize:
  """Counts a network of the registry; GET with six iterations."""
  return model_size(create_model(name))


def table2() -> dict[str, float]:
  """Returns the FIDs of Table 2."""
  rows = load_tables("get")["table2"].rows
  return {name: values[0] for name, values in rows.items()}


def vit_base() -> float:
  """Returns the FID of ViT-Base in Table 4."""
  return load_tables("get")["table4"].rows["ViT-Base"][0]


def draw_images(arguments: Sequence[str]) -> Drawing:
  """Figure 2a: FID against training images."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  fids = table2()
  for i, name in enumerate(GETS):
    longer, multiple = LONGER.get(name, (name, 1))
    points = sorted(
      {(IMAGES / 1e6, fids[name]), (IMAGES * multiple / 1e6, fids[longer])}
    )
    draw_published(axes, points, name, color=f"C{i}")
  draw_published(
    axes, [(IMAGES / 1e6, vit_base())], "ViT-Base", marker="s", color="0.4"
  )
  table1 = load_tables("get")["table1"].rows
  draw_published(
    axes,
    [(images / 1e6, table1[name][0]) for name, images in ONLINE.items()],
    "online distillation",
    dict.fromkeys(ONLINE, "left"),
    marker="^",
    linestyle="",
    color="0.1",
  )
  for i, run in enumerate(runs):
    points = [
      (run.config.batch_size * step / 1e6, fid)
      for step, fid in run.curve("step")
    ]
    draw_ours(axes, points, run.label, i)
  plain_log_x(axes, "training images, millions")
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Tables 1, 2 and 4 (batch size 128, 800,000 steps), data "
      "budgets of section 4.2; the curves of the paper's figure have no "
      "table.",
      *(run.note() for run in runs),
    ],
  )


def draw_parameters(arguments: Sequence[str]) -> Drawing:
  """Figure 2b: FID against parameters."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  fids = table2()
  draw_published(
    axes,
    [(_parameters(model), fids[name]) for name, model in GETS.items()],
    "GET, 800,000 steps",
    sides(GETS),
    color="C0",
  )
  draw_published(
    axes,
    [(_parameters("ViT-B/2"), vit_base())],
    "ViT, 800,000 steps",
    sides(["ViT-Base"]),
    marker="s",
    color="C1",
  )
  for i, run in enumerate(runs):
    draw_ours(
      axes, [(run.parameters / 1e6, run.curve("step")[-1][1])], run.label, i
    )
  plain_log_x(axes, "parameters, millions")
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Tables 2 and 4; parameters counted by the program. "
      "ViT-Large has no FID in a table.",
      *(run.note() for run in runs),
    ],
  )


def draw_sampling(arguments: Sequence[str]) -> Drawing:
  """Figure 3a: FID against the cost of an image."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  fids = table2() | {"ViT-Base": vit_base()}
  for group, models in (("GET", GETS), ("ViT", {"ViT-Base": "ViT-B/2"})):
    points = [
      (size_of(model).macs / 1e9, fids[name]) for name, model in models.items()
    ]
    marker, colour = ("o", "C0") if group == "GET" else ("s", "C1")
    draw_published(
      axes, points, group, sides(models), marker=marker, color=colour
    )
    areas = [8 * _parameters(model) for model in models.values()]
    x, y = zip(*points, strict=True)
    axes.scatter(x, y, areas, color=colour, alpha=0.2, linewidths=0)
  for i, run in enumerate(runs):
    if run.has_equilibrium:
      points = [
        (run.size_at(int(count)).macs / 1e9, fid)
        for count, fid in run.curve("sampling.iterations")
      ]
    else:
      points = [(run.evaluations() * run.size.macs / 1e9, run.fid())]
    draw_ours(axes, points, run.label, i)
  plain_log_x(axes, "multiply-adds of one image, billions")
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Tables 2 and 4, GET with six iterations; multiply-adds "
      "counted by the program. Areas are parameters. The paper's axis is the "
      "sampling time, which no table has, nor FIDs of fewer iterations; "
      "--mode=curve over sampling.iterations draws a run at several.",
      *(run.note() for run in runs),
    ],
  )


def draw_compute(arguments: Sequence[str]) -> Drawing:
  """Figure 3b: FID against training compute."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  fids = table2()
  for i, (name, model) in enumerate(GETS.items()):
    compute = 3 * size_of(model).macs / 1e9 * IMAGES
    longer, multiple = LONGER.get(name, (name, 1))
    points = sorted({(compute, fids[name]), (multiple * compute, fids[longer])})
    draw_published(axes, points, name, color=f"C{i}")
  compute = 3 * size_of("ViT-B/2").macs / 1e9 * IMAGES
  draw_published(
    axes, [(compute, vit_base())], "ViT-Base", marker="s", color="0.4"
  )
  for i, run in enumerate(runs):
    points = [
      (run.training_gmacs(step), fid) for step, fid in run.curve("step")
    ]
    draw_ours(axes, points, run.label, i)
  axes.set(
    xlabel="training compute, GFLOPs (3 x multiply-adds x images)",
  )
  axes.set_xscale("log", base=2)
  log_fid(axes)
  return Drawing(
    figure,
    [
      "Published: Tables 2 and 4, at the end of training; the points during "
      "training have no table. Multiply-adds with six iterations, counted by "
      "the program.",
      *(run.note() for run in runs),
    ],
  )


def draw_samples(arguments: Sequence[str]) -> Drawing:
  """Figure 4: samples, each row a class."""
  if not arguments:
    raise UsageError(
      "get-4 shows samples of our networks; expected --run ROW=WORKDIR"
    )
  figure, all_axes = panels(len(arguments), width=4.4)
  for axes, argument in zip(all_axes, arguments, strict=True):
    label, source = parse(argument)
    pipe = Pipeline.load(source)
    classes = pipe.model.num_classes
    rows = min(classes, 10) or SAMPLES_PER_CLASS
    labels = np.repeat(np.arange(rows), SAMPLES_PER_CLASS) if classes else None
    count = None if classes else rows * SAMPLES_PER_CLASS
    grid = tile(pipe(class_labels=labels, count=count), SAMPLES_PER_CLASS)
    axes.imshow(grid, interpolation="nearest")
    pitch = len(grid) / rows
    ticks = [(i + 0.5) * pitch for i in range(rows)] if classes else []
    axes.set_yticks(ticks, [str(i) for i in range(len(ticks))])
    axes.set(title=label, ylabel="class" if classes else "", xticks=[])
    axes.tick_params(length=0)
    for side in axes.spines.values():
      side.set_visible(False)
  return Drawing(figure, ["Our samples, uncurated, seed 0."])


def _parameters(name: str) -> float:
  """Counts millions of parameters with the position table, as the paper."""
  size = size_of(name)
  return (size.params + size.position_table) / 1e6


FIGURES = {
  "get-2a": PaperFigure(
    "GET, Figure 2a: FID against training images", draw_images
  ),
  "get-2b": PaperFigure(
    "GET, Figure 2b: FID against parameters", draw_parameters
  ),
  "get-3a": PaperFigure(
    "GET, Figure 3a: FID against the cost of sampling", draw_sampling
  ),
  "get-3b": PaperFigure(
    "GET, Figure 3b: FID against training compute", draw_compute
  ),
  "get-4": PaperFigure(
    "GET, Figure 4: uncurated samples, one class per row", draw_samples
  ),
}
