"""Figures of the appendix of U-ViT (Bao et al. 2023)."""

from collections.abc import Sequence

from quality import load_tables
from uvit_cka import cka_of_run

from get_jax.errors import UsageError
from paper_figures.figure import Drawing, PaperFigure
from paper_figures.runs import load, parse
from paper_figures.style import draw_ours, draw_published, panels

CKA_IMAGES, CKA_TIME = 256, 0.5


def draw_scaling(arguments: Sequence[str]) -> Drawing:
  """Figure 1: FID against depth, width and patch size."""
  if not arguments:
    raise UsageError(
      "uvit-1 has no table behind it, so only our runs are drawn; expected "
      "--run ROW=WORKDIR"
    )
  runs = [load(argument) for argument in arguments]
  figure, all_axes = panels(3, width=4)
  fields = {
    "depth": "depth, without the middle block",
    "hidden_size": "width D",
    "patch_size": "patch size, pixels",
  }
  for axes, (field, title) in zip(all_axes, fields.items(), strict=True):
    values = [run.field(field, "a U-ViT") for run in runs]
    for i, (run, value) in enumerate(zip(runs, values, strict=True)):
      draw_ours(axes, [(value, run.fid())], run.label, i)
    axes.set(xlabel=title, ylabel="FID")
    axes.set_xticks(sorted(set(values)))
  return Drawing(
    figure,
    [
      "The paper's figure has no table; only our runs are drawn. Its setting "
      "of U-ViT-S/2 is depth 12, width 512, patch size 2.",
      *(run.note() for run in runs),
    ],
  )


def draw_cka(arguments: Sequence[str]) -> Drawing:
  """Figure 2: similarity of the blocks."""
  if not arguments:
    raise UsageError(
      "uvit-2 shows the blocks of our networks; expected --run ROW=WORKDIR"
    )
  figure, all_axes = panels(len(arguments), width=4.2)
  for axes, argument in zip(all_axes, arguments, strict=True):
    label, workdir = parse(argument)
    matrix = cka_of_run(workdir, CKA_IMAGES, CKA_TIME, unbiased=False)
    image = axes.imshow(matrix, vmin=0, vmax=1, origin="lower")
    axes.set(title=label, xlabel="block", ylabel="block")
  figure.colorbar(image, ax=all_axes, label="linear CKA", shrink=0.8)
  return Drawing(
    figure,
    [
      f"Our runs: {CKA_IMAGES} training images with noise of t = {CKA_TIME}. "
      "The paper's matrices are printed as pictures only."
    ],
  )


def draw_unet(arguments: Sequence[str]) -> Drawing:
  """Figure 3: FID against training steps, with a U-Net of equal cost."""
  runs = [load(argument) for argument in arguments]
  figure, (axes,) = panels()
  rows = load_tables("uvit")["appendix_f"].rows
  for i, (row, (fid,)) in enumerate(rows.items()):
    draw_published(
      axes,
      [(500, fid)],
      row,
      color=f"C{i % 2}",
      marker="os"[i % 2] if i < 2 else "v^"[i % 2],
    )
  for i, run in enumerate(runs):
    points = [(step / 1000, fid) for step, fid in run.curve("step")]
    draw_ours(axes, points, run.label, i)
  axes.set(xlabel="training steps, thousands", ylabel="FID")
  return Drawing(
    figure,
    [
      "Published: appendix F, ImageNet 256x256, 500,000 steps (U-ViT-H/2 133 "
      "GFLOPs, U-Net 135); the points during training have no table.",
      *(run.note() for run in runs),
    ],
  )


FIGURES = {
  "uvit-1": PaperFigure(
    "U-ViT, appendix, Figure 1: depth, width and patch size", draw_scaling
  ),
  "uvit-2": PaperFigure(
    "U-ViT, appendix, Figure 2: CKA between blocks, by the long skip", draw_cka
  ),
  "uvit-3": PaperFigure(
    "U-ViT, appendix, Figure 3: against a U-Net of equal cost", draw_unet
  ),
}
