"""Opens the metric writers of a training, with its config for comparisons."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections

from get_jax.storage.paths import as_path
from get_jax.training.loop import OpenWriter
from get_jax.training.metrics import MetricWriter, MultiWriter, create_writer
from get_jax.training.wandb_writer import WandbWriter
from get_jax.training.workdir import config_to_dict


def make_open_writer(
  config: ml_collections.ConfigDict, name: str
) -> OpenWriter:
  """Returns a function that opens the writers of a training.

  These are the writers of `create_writer`, and that of Weights & Biases where
  the config key `wandb` names a project. They get the config as a text and as
  hyper-parameters.

  Args:
    config: the experiment.
    name: name of the training, such as "train" or "teacher".
  """

  def open_writer(
    workdir: str | os.PathLike[str], start_step: int
  ) -> MetricWriter:
    writer = create_writer(workdir, start_step)
    if jax.process_index():
      return writer
    folder, target = as_path(workdir), config.get("wandb", "")
    if target:
      title = folder.name if name == "train" else f"{folder.parent.name} {name}"
      writer = MultiWriter(writer, WandbWriter(target, folder, title))
    settings = config_to_dict(config)
    text = json.dumps(settings, indent=2)
    writer.write_texts(start_step, {"config": f"```json\n{text}\n```"})
    writer.write_hparams(dict(flatten(settings)))
    return writer

  return open_writer


def flatten(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Yields the values of nested mappings with keys such as "model.depth"."""
  for key, value in values.items():
    if isinstance(value, Mapping):
      yield from ((f"{key}.{name}", inner) for name, inner in flatten(value))
    else:
      yield str(key), value
