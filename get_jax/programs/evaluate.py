"""--mode=evaluate: score what a workdir has learnt."""

import dataclasses
import time

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from get_jax.data import Source
from get_jax.errors import UsageError
from get_jax.evaluation import (
  FeatureExtractor,
  Summary,
  batches,
  compute_scores,
  create_extractor,
  summarize_images,
  to_uint8,
)
from get_jax.programs.build import build_mesh, build_source, check_task
from get_jax.programs.generator import Generator, ImageMaker, build_generator
from get_jax.programs.workdir import open_workdir, write_results
from get_jax.training.checkpoints import load_params
from get_jax.training.randomness import purpose_key

READ = 500  # images measured at once


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Scores of a generator and how they were made.

  Attributes:
    scores: values by name, such as "fid[digits-v1]".
    protocol: sample count, seed, sampler, reference and the like.
    seconds_per_1000: time to draw 1,000 images, compilation aside.
  """

  scores: dict[str, float]
  protocol: dict
  seconds_per_1000: float

  def to_json(self) -> dict:
    """As results/*.json hold it."""
    return dataclasses.asdict(self)


def run(config, workdir: str) -> None:
  """Scores `config.evaluation.count` samples of the averaged parameters."""
  check_task(config)
  folder = open_workdir(workdir, config)
  extractor = build_extractor(config)
  reference, name = real_statistics(config, extractor)
  evaluation, _ = evaluate(
    config,
    build_generator(config),
    load_params(folder),
    extractor,
    reference,
    name,
  )
  write_results(folder, "evaluate", evaluation.to_json())
  print_table({config.model.name: evaluation})


def build_extractor(config) -> FeatureExtractor:
  """The extractor that the config names; never another.

  Raises:
    UsageError: the config names none.
  """
  if not config.evaluation.extractor:
    raise UsageError(
      "evaluation.extractor is empty; expected a name such as digits-v1"
    )
  return create_extractor(config.evaluation.extractor)


def real_statistics(config, extractor: FeatureExtractor) -> tuple[Summary, str]:
  """All real images through the extractor, and their source's name."""
  data = config.teacher if config.task == "distillation" else config
  source = build_source(data)
  images = real_images(source)
  return summarize_images(extractor, batches(images, READ)), source.fingerprint


def real_images(source: Source) -> np.ndarray:
  """All images of a source as uint8."""
  return to_uint8(source.read(np.arange(len(source)))["image"])


def evaluate(
  config,
  generator: Generator,
  params: dict,
  extractor: FeatureExtractor,
  reference: Summary,
  reference_name: str,
  title: str = "evaluating",
) -> tuple[Evaluation, Summary]:
  """Draws samples and scores them against the reference."""
  count, seed = config.evaluation.count, config.evaluation.seed
  maker = ImageMaker(
    generator,
    purpose_key(seed, "sample"),
    config.sampling.batch_size,
    build_mesh(config),
  )
  maker.batch(params, np.arange(1))  # compile before the clock starts
  start = time.perf_counter()
  images, labels = maker.all(params, np.arange(count), description=title)
  seconds = time.perf_counter() - start
  samples = summarize_images(extractor, batches(to_uint8(images), READ), labels)
  names = ["fid"]
  if samples.logits is not None:
    names.append("inception_score")
    names += ["class_accuracy"] if labels is not None else []
  protocol = {
    "samples": count,
    "seed": seed,
    "weights": "ema",
    "evaluations": generator.evaluations,
    **generator.protocol,
    "extractor": extractor.name,
    "extractor_sha256": extractor.digest,
    "reference": reference_name,
    "device": jax.devices()[0].device_kind,
  }
  scores = compute_scores(samples, reference, names)
  return Evaluation(scores, protocol, 1000 * seconds / count), samples


def print_table(evaluations: dict[str, Evaluation]) -> None:
  """Evaluations side by side, with their protocol below."""
  first = next(iter(evaluations.values()))
  table = Table("", *evaluations, title="Quality")
  for column in table.columns[1:]:
    column.justify = "right"
  for score in first.scores:
    row = [f"{e.scores[score]:.3f}" for e in evaluations.values()]
    table.add_row(escape(score), *row)
  table.add_row(
    "network evaluations per image",
    *(str(e.protocol["evaluations"]) for e in evaluations.values()),
  )
  table.add_row(
    "seconds per 1,000 images",
    *(f"{e.seconds_per_1000:.2f}" for e in evaluations.values()),
  )
  console = Console()
  console.print(table)
  for name, evaluation in evaluations.items():
    words = ", ".join(f"{k}={v}" for k, v in evaluation.protocol.items())
    console.print(
      f"{name}: {words}", style="dim", highlight=False, markup=False
    )
