"""Reports on a distillation: student, teacher and real data side by side."""

import hashlib
import json
import pathlib

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from get_jax.builders.data import build_source
from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.evaluation import plot_curve
from get_jax.generation.grids import save_class_grids, save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.jobs.measure import measure, seconds_per_1000
from get_jax.jobs.pairs import teacher_workdir
from get_jax.training.checkpoints import load_params, params_digest
from get_jax.training.processes import run_on_main
from get_jax.training.rng import named_key
from get_jax.training.workdir import config_to_dict, write_results

PER_CLASS = 10


def make_report(config, workdir: pathlib.Path) -> None:
  """Pictures in samples/, a table, and all figures in results/report.json."""
  student = load_params(workdir)
  teacher = load_params(teacher_workdir(config, workdir))
  identity = _identity(config, student, teacher)
  path = workdir / "results" / "report.json"
  found = run_on_main(
    lambda: json.loads(path.read_text("utf-8")) if path.exists() else None
  )
  if found is not None and found["identity"] == identity:
    print(f"report: already in {path}")
    _print(found)
    return
  _draw_grids(config, workdir, student, teacher)
  evaluator = build_evaluator(config)
  counts = sorted({*config.report.iterations, config.sampling.iterations})
  by_iterations = {}
  for count in counts:
    generator = build_generator(config, count)
    title = f"GET, {count} iterations"
    by_iterations[count] = _measured(
      evaluator, config, generator, student, workdir, title
    )
  generator = build_generator(config.teacher)
  content = {
    "identity": identity,
    "GET": by_iterations[config.sampling.iterations],
    "teacher": _measured(
      evaluator, config, generator, teacher, workdir, "teacher"
    ),
    "iterations": by_iterations,
  }
  if jax.process_index() == 0:
    plot_curve(
      workdir / "samples" / "iterations.png",
      "equilibrium iterations",
      [(count, found["scores"]) for count, found in by_iterations.items()],
      baselines={"teacher": content["teacher"]["scores"]},
      log_x=True,
    )
  write_results(workdir, "report", content)
  _print(content)
  print(f"pictures in {workdir / 'samples'}, figures in {path}")


def _measured(evaluator, config, generator, params, workdir, title) -> dict:
  result = measure(evaluator, config, generator, params, workdir, title)
  seconds = seconds_per_1000(config, generator, params)
  return {**result.to_json(), "seconds_per_1000_images": seconds}


def _identity(config, student: dict, teacher: dict) -> str:
  """Names everything that the report depends on."""
  parts = [
    params_digest(student),
    params_digest(teacher),
    config_to_dict(config.report),
    config_to_dict(config.evaluation),
    config_to_dict(config.sampling),
  ]
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _draw_grids(config, workdir, student, teacher) -> None:
  """The same noise through student and teacher, beside real images."""
  generators = {
    "GET": (student, build_generator(config)),
    "teacher": (teacher, build_generator(config.teacher)),
  }
  classes = generators["GET"][1].conditioning.num_classes
  labels = np.repeat(np.arange(classes), PER_CLASS)
  key = named_key(config.pairs.seed, "sample")
  size, mesh = config.sampling.batch_size, build_sampling_mesh(config)
  grids = {}
  for name, (params, generator) in generators.items():
    image_sampler = ImageSampler(generator, key, size, mesh)
    images, _ = image_sampler.sample(
      params, np.arange(len(labels)), labels, name
    )
    count = generator.nfe
    plural = "" if count == 1 else "s"
    grids[f"{name}, {count} evaluation{plural}"] = images
  source = build_source(config.teacher)
  real = source.read(np.arange(len(source)))
  chosen = [
    np.flatnonzero(real["label"] == c)[:PER_CLASS] for c in range(classes)
  ]
  grids["real"] = real["image"][np.concatenate(chosen)]
  if jax.process_index():
    return
  folder = workdir / "samples"
  save_class_grids(folder / "comparison.png", grids, PER_CLASS)
  for title, images in grids.items():
    name = title.partition(",")[0].lower()
    save_grid(folder / f"{name}.png", images, columns=PER_CLASS)


def _print(content: dict) -> None:
  columns = ("GET", "teacher")
  table = Table("", *columns, title="Quality")
  for column in table.columns[1:]:
    column.justify = "right"
  for score in content["GET"]["scores"]:
    if "_std[" in score:
      continue
    values = (content[name]["scores"][score] for name in columns)
    table.add_row(escape(score), *(f"{value:.3f}" for value in values))
  table.add_row(
    "network evaluations per image",
    *(str(content[name]["protocol"]["evaluations"]) for name in columns),
  )
  table.add_row(
    "seconds per 1,000 images",
    *(f"{content[name]['seconds_per_1000_images']:.2f}" for name in columns),
  )
  console = Console()
  console.print(table)
  protocol = content["GET"]["protocol"]
  console.print(
    f"{protocol['samples']} samples each, seed {protocol['seed']}, averaged "
    f"weights; against all {protocol['reference_count']} images of "
    f"{protocol['reference']} by {protocol['extractor']}",
    style="dim",
    highlight=False,
    markup=False,
  )
