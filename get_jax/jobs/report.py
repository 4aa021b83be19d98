"""Reports on a distillation: student, teacher and real images compared."""

import hashlib
import json
import logging
from typing import Any

import jax
import ml_collections
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from get_jax.builders.data import build_source
from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.data import Source
from get_jax.errors import UsageError, reason
from get_jax.evaluation import plot_curve
from get_jax.generation.generator import Generator
from get_jax.generation.grids import save_class_grids, save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.jobs.measure import measure, seconds_per_1000
from get_jax.jobs.pairs import teacher_workdir
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import Path
from get_jax.training.checkpoints import load_params, params_digest
from get_jax.training.processes import run_on_main
from get_jax.training.rng import named_key
from get_jax.training.workdir import config_to_dict, write_results

IMAGES_PER_CLASS = 10
READ_SIZE = 256  # images read at once
log = logging.getLogger(__name__)


def make_report(config: ml_collections.ConfigDict, workdir: Path) -> None:
  """Compares student and teacher in scores, speed and sample grids.

  Writes grids to samples/ and all figures to results/report.json, and prints a
  table. A report of the same parameters and settings is not made again.
  """
  student = load_params(workdir)
  teacher = load_params(teacher_workdir(config, workdir))
  identity = _identity(config, student, teacher)
  path = workdir / "results" / "report.json"
  existing = run_on_main(lambda: read_report(path, identity))
  if existing is not None:
    print(f"report: already in {path}")
    _print_table(existing)
    return
  counts = sorted({*config.report.iterations, config.sampling.iterations})
  by_count = {count: build_generator(config, count) for count in counts}
  get = by_count[config.sampling.iterations]
  teacher_generator = build_generator(config.teacher)
  grids = {"GET": (get, student), "teacher": (teacher_generator, teacher)}
  _save_grids(config, workdir, grids)
  evaluator = build_evaluator(config)

  def measured(
    generator: Generator, params: dict[str, Any], title: str
  ) -> dict[str, Any]:
    result = measure(evaluator, config, generator, params, workdir, title)
    seconds = seconds_per_1000(config, generator, params)
    return {**result.to_json(), "seconds_per_1000_images": seconds}

  by_iterations = {
    count: measured(generator, student, f"GET, {count} iterations")
    for count, generator in by_count.items()
  }
  teacher_result = measured(teacher_generator, teacher, "teacher")
  content = {
    "identity": identity,
    "GET": by_iterations[config.sampling.iterations],
    "teacher": teacher_result,
    "iterations": by_iterations,
  }
  if jax.process_index() == 0:
    plot_curve(
      workdir / "samples" / "iterations.png",
      "equilibrium iterations",
      [(count, result["scores"]) for count, result in by_iterations.items()],
      baselines={"teacher": teacher_result["scores"]},
      log_x=True,
    )
  write_results(workdir, "report", content)
  _print_table(content)
  print(f"images are in {workdir / 'samples'}, figures in {path}")


def read_report(path: Path, identity: str) -> dict[str, Any] | None:
  """Returns a report that was made before; None if it has to be made.

  A warning names a report that is damaged.

  Args:
    path: its file.
    identity: hash of everything that the report depends on.
  """
  try:
    content = read_json_object(path, "a report")
    if content.get("identity") != identity:
      return None
    _build_table(content)
  except FileNotFoundError:
    return None
  except (UsageError, LookupError, ValueError, TypeError) as error:
    log.warning(
      "%s is damaged (%s); the report is made again", path, reason(error)
    )
    return None
  return content


def _identity(
  config: ml_collections.ConfigDict, student: dict, teacher: dict
) -> str:
  """Returns a hash of everything that the report depends on."""
  parts = [
    params_digest(student),
    params_digest(teacher),
    config_to_dict(config.report),
    config_to_dict(config.evaluation),
    config_to_dict(config.sampling),
  ]
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _save_grids(
  config: ml_collections.ConfigDict,
  workdir: Path,
  generators: dict[str, tuple[Generator, dict]],
) -> None:
  """Saves grids of student and teacher from the same noise, and of the data."""
  num_classes = generators["GET"][0].conditioning.num_classes
  labels = np.repeat(np.arange(num_classes), IMAGES_PER_CLASS)
  indices = np.arange(len(labels))
  key = named_key(config.pairs.seed, "sample")
  batch_size, mesh = config.sampling.batch_size, build_sampling_mesh(config)
  grids = {}
  for name, (generator, params) in generators.items():
    image_sampler = ImageSampler(generator, key, batch_size, mesh)
    images, _ = image_sampler.sample(params, indices, labels, name)
    count = "adaptive" if generator.nfe is None else generator.nfe
    plural = "" if count == 1 else "s"
    grids[f"{name}, {count} evaluation{plural}"] = images
  grids["real"] = _images_of_classes(build_source(config.teacher), num_classes)
  if jax.process_index():
    return
  folder = workdir / "samples"
  save_class_grids(folder / "comparison.png", grids, IMAGES_PER_CLASS)
  for title, images in grids.items():
    name = title.partition(",")[0].lower()
    save_grid(folder / f"{name}.png", images, columns=IMAGES_PER_CLASS)


def _images_of_classes(source: Source, num_classes: int) -> np.ndarray:
  """Returns the first `IMAGES_PER_CLASS` images of each class, by class."""
  images: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
  for start in range(0, len(source), READ_SIZE):
    stop = min(start + READ_SIZE, len(source))
    records = source.read(np.arange(start, stop))
    for image, label in zip(records["image"], records["label"], strict=True):
      if label < num_classes and len(images[label]) < IMAGES_PER_CLASS:
        images[label].append(image.copy())
    if all(len(of_class) == IMAGES_PER_CLASS for of_class in images):
      break
  return np.stack([image for of_class in images for image in of_class])


def _build_table(content: dict[str, Any]) -> tuple[Table, str]:
  """Returns the table of a report, and the line below it."""
  names = ("GET", "teacher")
  table = Table("", *names, title="Quality")
  for column in table.columns[1:]:
    column.justify = "right"
  for score in content["GET"]["scores"]:
    if "_std[" in score:
      continue
    values = (content[name]["scores"][score] for name in names)
    table.add_row(escape(score), *(f"{value:.3f}" for value in values))
  table.add_row(
    "network evaluations per image",
    *(str(content[name]["protocol"]["evaluations"]) for name in names),
  )
  table.add_row(
    "seconds per 1,000 images",
    *(f"{content[name]['seconds_per_1000_images']:.2f}" for name in names),
  )
  protocol = content["GET"]["protocol"]
  return table, (
    f"{protocol['samples']} samples each, seed {protocol['seed']}, EMA "
    f"weights; reference: all {protocol['reference_count']} images of "
    f"{protocol['reference']}; extractor: {protocol['extractor']}"
  )


def _print_table(content: dict[str, Any]) -> None:
  table, note = _build_table(content)
  console = Console()
  console.print(table)
  console.print(note, style="dim", highlight=False, markup=False)
