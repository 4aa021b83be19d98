"""Trains and scores experiments in one folder; what is done is not repeated."""

import argparse
import contextlib
import dataclasses
import io
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from get_jax.aot.lower import count_operations, lower_step
from get_jax.aot.memory import compile_program, read_memory
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.builders.model import build_model
from get_jax.builders.teacher import with_teachers
from get_jax.generation.image_sampler import ImageSampler
from get_jax.models.counting import count_parameters
from get_jax.models.parameters import abstract_params
from get_jax.modes import load_mode
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import Path, as_path
from get_jax.training.checkpoints import load_params
from get_jax.training.rng import named_key


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
  return Costs(
    parameters,
    build_generator(config).nfe,
    operations_per_image(config) / 2,
    count_operations(config, "train")[0],
  )


def preparation(config: ConfigDict) -> float:
  """Returns the operations before the first step of an experiment.

  These are the training of the teachers that it trains, and the generation of
  the pairs that it makes.
  """
  _, *teachers = (each for each, _ in with_teachers(config, as_path("")))
  training = sum(
    teacher.num_steps * count_operations(teacher, "train")[0]
    for teacher in teachers
  )
  if "pairs" not in config:
    return training
  return training + config.pairs.count * operations_per_image(config.teacher)


def operations_per_image(config: ConfigDict) -> float:
  """Returns the operations of the generation of one image."""
  operations, _ = count_operations(config, "sample")
  return operations / config.sampling.batch_size


def training_memory(config: ConfigDict) -> int:
  """Returns the bytes of state, batch and temporaries of a training step."""
  lowered = lower_step(config, "train", jax.devices()[:1]).lowered
  memory = read_memory(compile_program(lowered))
  return memory.arguments + memory.temporaries


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
  """Trains and evaluates an experiment, quietly; what is done is not repeated.

  Returns:
    The content of `results/evaluate.json`.
  """
  path = workdir / "results" / "evaluate.json"
  if not path.exists():
    train(config, workdir)
    with contextlib.redirect_stdout(io.StringIO()):
      load_mode("evaluate")(config, str(workdir))
  return read_json_object(path, "scores")


@dataclasses.dataclass(frozen=True)
class Trained:
  """A trained network that generates images.

  Attributes:
    sampler: generates images by index.
    params: parameters on the devices of the sampler.
  """

  sampler: ImageSampler
  params: dict[str, Any]

  @classmethod
  def load(cls, config: ConfigDict, workdir: Path) -> "Trained":
    """Loads the averaged parameters of a run."""
    key = named_key(config.evaluation.seed, "sample")
    sampler = ImageSampler(
      build_generator(config),
      key,
      config.sampling.batch_size,
      build_sampling_mesh(config),
    )
    return cls(sampler, sampler.replicate_params(load_params(workdir)))

  def sample(self, labels: Sequence[int]) -> np.ndarray:
    """Returns images of classes, float32 (n, H, W, C) in [-1, 1]."""
    indices = np.arange(len(labels))
    images, _ = self.sampler.sample_batch(
      self.params, indices, np.asarray(labels)
    )
    return images

  def seconds_per_1000(self) -> float:
    """Returns the seconds that 1,000 images take, measured on one batch."""
    start = time.perf_counter()
    indices = np.arange(self.sampler.batch_size)
    self.sampler.sample_batch(self.params, indices)
    return 1000 * (time.perf_counter() - start) / self.sampler.batch_size


def seconds_in_turn(
  trained: Mapping[str, Trained], repeats: int = 7
) -> dict[str, float]:
  """Returns the seconds per 1,000 images of each network, without compilation.

  The networks generate a batch in turn, so that other load on the machine slows
  all of them; the result is the median of the repeats.
  """
  for each in trained.values():
    each.seconds_per_1000()  # compiles
  seconds = [
    {name: each.seconds_per_1000() for name, each in trained.items()}
    for _ in range(repeats)
  ]
  return {
    name: statistics.median(repeat[name] for repeat in seconds)
    for name in trained
  }


def spread(values: Iterable[float]) -> str:
  """Returns the mean of seeds, with the standard deviation of several."""
  values = list(values)
  mean = f"{statistics.mean(values):.3f}"
  return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def seeds_of(text: str) -> Sequence[int]:
  """Returns the seeds of an argument such as "0,1,2".

  Raises:
    argparse.ArgumentTypeError: the argument is no list of integers.
  """
  try:
    return [int(part) for part in text.split(",")]
  except ValueError:
    raise argparse.ArgumentTypeError(
      f"{text!r} is no list of seeds; expected integers such as 0,1,2"
    ) from None
