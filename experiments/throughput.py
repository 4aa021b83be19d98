"""Compares estimated speeds of training with published ones.

    python experiments/throughput.py

The estimate is the compute term of the roofline (get_jax/aot/roofline.py):
operations, counted from our model, at half of the chip's peak. It leaves out
memory, collectives and data. The published runs are those of
experiments/published/throughput.toml, all by other programs.
"""

import dataclasses
import pathlib
import tomllib
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from get_jax.aot.lower import count_operations
from get_jax.aot.roofline import COMPUTE
from get_jax.builders.config_file import load_config_file

ROOT = pathlib.Path(__file__).parents[1]
PUBLISHED = ROOT / "experiments" / "published" / "throughput.toml"


@dataclasses.dataclass(frozen=True)
class PublishedRun:
  """A training whose speed is published.

  Attributes:
    name: network.
    config: our experiment with this network.
    hardware: chips.
    peak: operations per second of a chip, see the file.
    chips: number of chips.
    batch_size: images per step.
    steps_per_second: speed.
    source: where it is published, and how it was trained.
  """

  name: str
  config: str
  hardware: str
  peak: float
  chips: int
  batch_size: int
  steps_per_second: float
  source: str

  @property
  def images_per_second(self) -> float:
    """Published images per second and chip."""
    return self.steps_per_second * self.batch_size / self.chips


def operations_per_image(config: str) -> float:
  """Returns the operations of forward and backward pass for one image."""
  experiment = load_config_file(str(ROOT / "configs" / f"{config}.py"))
  operations, _ = count_operations(experiment, "train")
  return operations / experiment.batch_size


def load_runs() -> list[PublishedRun]:
  """Reads the published runs."""
  content = tomllib.loads(PUBLISHED.read_text("utf-8"))
  return [PublishedRun(**run) for run in content["runs"]]


def compare(runs: Iterable[PublishedRun]) -> Table:
  """Returns a table of published and estimated speeds."""
  table = Table(
    "network", "hardware", "published", "share of the peak", "estimate",
    "estimate / published", "source",
    title="Training, images per second and chip",
  )  # fmt: skip
  for run in runs:
    operations = operations_per_image(run.config)
    published = run.images_per_second
    estimate = COMPUTE * run.peak / operations
    table.add_row(
      run.name,
      run.hardware,
      f"{published:.1f}",
      f"{published * operations / run.peak:.1%}",
      f"{estimate:.1f}",
      f"{estimate / published:.2f}",
      run.source,
    )
  return table


if __name__ == "__main__":
  Console(width=170).print(compare(load_runs()))
