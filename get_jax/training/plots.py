"""Plots the metrics of a training run."""

from get_jax.storage.paths import Path, atomic_writer
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import PERFORMANCE_KEYS

LOSSES = "samples/loss.png"


def plot_losses(workdir: Path, title: str) -> None:
  """Plots metrics.jsonl as `LOSSES`, with one panel per metric.

  Args:
    workdir: folder of the run; without metrics, no file is written.
    title: title of the first panel.
  """
  from matplotlib.figure import Figure

  records = read_metrics(workdir)
  if not records:
    return
  names = [n for n in records[0] if n not in ("step", *PERFORMANCE_KEYS)]
  width, height = 4.2 * len(names), 3.2
  figure = Figure(figsize=(width, height))
  axes = figure.subplots(1, len(names), squeeze=False)
  for axis, name in zip(axes[0], names, strict=True):
    axis.plot([r["step"] for r in records], [r[name] for r in records])
    axis.set(xlabel="step", ylabel=name, yscale="log")
    axis.grid(alpha=0.3)
  axes[0][0].set_title(title)
  # Margins in inches, wide enough for "1.05 x 10^0". A layout that measures its
  # labels renders them twice.
  figure.subplots_adjust(
    left=1.1 / width,
    right=1 - 0.1 / width,
    bottom=0.5 / height,
    top=1 - 0.3 / height,
    wspace=1.2 / 3.0,
  )
  with atomic_writer(workdir / LOSSES) as file:
    figure.savefig(file, format="png", dpi=110)
