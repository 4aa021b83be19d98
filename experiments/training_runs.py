"""Trains and scores experiments in one folder; what is done is not repeated."""

import contextlib
import dataclasses
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from ml_collections import ConfigDict

from get_jax.aot.lower import count_operations
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.jobs.measure import seconds_per_1000
from get_jax.models.counting import count_parameters
from get_jax.models.parameters import abstract_params
from get_jax.modes import load_mode
from get_jax.storage.json_files import read_json_object, write_json
from get_jax.storage.paths import Path
from get_jax.training.checkpoints import load_params


@dataclasses.dataclass(frozen=True)
class Costs:
  """What a network and its training cost, counted from the model.

  Attributes:
    parameters: trained parameters.
    evaluations: network evaluations per image; None for an adaptive sampler.
    multiply_adds: of one image, over all evaluations.
    train_operations: operations of one training step, forward and backward.
  """

  parameters: int
  evaluations: int | None
  multiply_adds: float
  train_operations: float


def costs(config: ConfigDict) -> Costs:
  """Returns the costs of an experiment."""
  parameters, _ = count_parameters(abstract_params(build_model(config)))
  sampling, _ = count_operations(config, "sample")
  return Costs(
    parameters,
    build_generator(config).nfe,
    sampling / 2 / config.sampling.batch_size,
    count_operations(config, "train")[0],
  )


def train(config: ConfigDict, workdir: Path) -> None:
  """Trains an experiment, quietly; a finished run is not repeated."""
  with contextlib.redirect_stdout(io.StringIO()):
    load_mode("train")(config, str(workdir))


def make_pairs(config: ConfigDict, workdir: Path) -> str:
  """Trains the teacher of a distillation and makes its pairs.

  Returns:
    The directory of the pairs.
  """
  train(config.teacher, workdir / "teacher")
  with contextlib.redirect_stdout(io.StringIO()):
    load_mode("pairs")(config, str(workdir))
  return str(workdir / "pairs")


def score(config: ConfigDict, workdir: Path) -> dict[str, Any]:
  """Trains and evaluates an experiment.

  Returns:
    The content of `results/evaluate.json`, and "seconds_per_1000_images".
  """
  path = workdir / "results" / "score.json"
  if path.exists():
    return read_json_object(path, "scores")
  train(config, workdir)
  with contextlib.redirect_stdout(io.StringIO()):
    load_mode("evaluate")(config, str(workdir))
  result = json.loads(
    (workdir / "results" / "evaluate.json").read_text("utf-8")
  )
  generator, params = build_generator(config), load_params(workdir)
  result["seconds_per_1000_images"] = seconds_per_1000(
    config, generator, params
  )
  write_json(path, result)
  return result


def spread(values: Iterable[float]) -> str:
  """Returns the mean of seeds, with the standard deviation of several."""
  values = list(values)
  mean = f"{statistics.mean(values):.3f}"
  return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def seeds_of(text: str) -> Sequence[int]:
  """Returns the seeds of an argument such as "0,1,2"."""
  return [int(part) for part in text.split(",")]
