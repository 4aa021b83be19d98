"""Estimates the times of an experiment on a v5e-8 and one H100.

  python experiments/step_times.py get_base_cifar10_cond

The times are the compute term of the roofline (get_jax/aot/roofline.py):
operations, counted from the model, at half of the bfloat16 peak. Nothing is
compiled or measured; data, memory and collectives are left out.
"""

import argparse
from collections.abc import Iterator

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from get_jax.aot.lower import count_operations
from get_jax.aot.roofline import COMPUTE
from get_jax.builders.config_file import load_config_file
from get_jax.hardware.chips import CHIPS

MACHINES = {"v5e-8": ("v5e", 8), "one H100": ("h100", 1)}


def parts(config: ConfigDict) -> Iterator[tuple[str, ConfigDict, str, float]]:
  """Yields the parts of an experiment.

  Yields:
    Name, experiment, step ("train" or "sample"), and the number of its images.
  """
  if config.task == "distillation":
    teacher = config.teacher
    yield from parts(teacher)
    yield f"{config.pairs.count:,} pairs", teacher, "sample", config.pairs.count
  images = config.num_steps * config.batch_size
  name = f"{config.model.name}, {config.num_steps:,} steps"
  yield name, config, "train", images
  yield f"{config.model.name}, 50,000 images", config, "sample", 50_000


def hours(operations: float, chip: str, count: int) -> float:
  """Returns the hours that chips need for operations."""
  return operations / (COMPUTE * CHIPS[chip].peak_flops * count) / 3600


def main() -> None:
  """Prints the table of an experiment."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("config", help="name or file of an experiment")
  config = load_config_file(parser.parse_args().config)
  table = Table("part", *(f"hours on {name}" for name in MACHINES))
  for name, part, step, images in parts(config):
    batch = part.batch_size if step == "train" else part.sampling.batch_size
    operations = count_operations(part, step)[1] * images / batch
    cells = (hours(operations, *chips) for chips in MACHINES.values())
    table.add_row(name, *(f"{cell:.2f}" for cell in cells))
  Console().print(table)


if __name__ == "__main__":
  main()
