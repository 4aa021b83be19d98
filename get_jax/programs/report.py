"""The end of a distillation: student, teacher and real data side by side."""

import hashlib
import json
import pathlib

import numpy as np

from get_jax.programs import pictures
from get_jax.programs.build import build_mesh, build_source
from get_jax.programs.evaluate import (
  Evaluation,
  build_extractor,
  evaluate,
  print_table,
  real_statistics,
)
from get_jax.programs.generator import ImageMaker, build_generator
from get_jax.programs.pairs import teacher_workdir
from get_jax.programs.workdir import plain, write_results
from get_jax.training.checkpoints import load_params, params_digest
from get_jax.training.randomness import purpose_key

PER_CLASS = 10


def run(config, workdir: pathlib.Path) -> None:
  """Pictures in samples/, a table, and all figures in results/report.json."""
  student = load_params(workdir)
  teacher = load_params(teacher_workdir(config, workdir))
  identity = _identity(config, student, teacher)
  path = workdir / "results" / "report.json"
  if path.exists():
    found = json.loads(path.read_text("utf-8"))
    if found["identity"] == identity:
      print(f"report: already in {path}")
      _print(found)
      return
  _draw_grids(config, workdir, student, teacher)
  extractor = build_extractor(config)
  reference, name = real_statistics(config, extractor)
  common = (extractor, reference, name)
  by_iterations = {}
  for count in config.report.iterations:
    by_iterations[count] = evaluate(
      config,
      build_generator(config, count),
      student,
      *common,
      title=f"GET, {count} iterations",
    )[0]
  usual = config.sampling.iterations
  if usual not in by_iterations:
    by_iterations[usual] = evaluate(
      config, build_generator(config), student, *common, title="GET"
    )[0]
  taught = evaluate(
    config,
    build_generator(config.teacher),
    teacher,
    *common,
    title="teacher",
  )[0]
  content = {
    "identity": identity,
    "GET": by_iterations[usual].to_json(),
    "teacher": taught.to_json(),
    "iterations": {k: e.to_json() for k, e in by_iterations.items()},
  }
  _plot_iterations(config, workdir, by_iterations, taught)
  write_results(workdir, "report", content)
  _print(content)
  print(f"pictures in {workdir / 'samples'}, figures in {path}")


def _identity(config, student: dict, teacher: dict) -> str:
  """Names everything that the report depends on."""
  parts = [
    params_digest(student),
    params_digest(teacher),
    plain(config.report),
    plain(config.evaluation),
    plain(config.sampling),
  ]
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _draw_grids(config, workdir, student, teacher) -> None:
  """The same noise through student and teacher, beside real images."""
  generator = build_generator(config)
  classes = generator.num_classes
  labels = np.repeat(np.arange(classes), PER_CLASS)
  key = purpose_key(config.sampling.seed, "sample")
  grids = {}
  for title, params, maker in (
    ("GET, 1 evaluation", student, generator),
    ("teacher", teacher, build_generator(config.teacher)),
  ):
    if maker.evaluations > 1:
      title = f"{title}, {maker.evaluations} evaluations"
    images, _ = ImageMaker(
      maker, key, config.sampling.batch_size, build_mesh(config)
    ).all(params, np.arange(len(labels)), labels, title)
    grids[title] = images
  source = build_source(config.teacher)
  real = source.read(np.arange(len(source)))
  chosen = [
    np.flatnonzero(real["label"] == c)[:PER_CLASS] for c in range(classes)
  ]
  grids["real"] = real["image"][np.concatenate(chosen)]
  folder = workdir / "samples"
  pictures.save_class_grids(folder / "comparison.png", grids, PER_CLASS)
  for title, images in grids.items():
    name = title.partition(",")[0].lower()
    pictures.save_grid(folder / f"{name}.png", images, PER_CLASS)


def _plot_iterations(config, workdir, by_iterations, taught) -> None:
  counts = sorted(by_iterations)
  curves = {
    score: [by_iterations[c].scores[score] for c in counts]
    for score in taught.scores
    if "_std" not in score
  }
  pictures.plot_quality(
    workdir / "samples" / "iterations.png",
    "equilibrium iterations",
    counts,
    curves,
    taught.scores,
  )


def _print(content: dict) -> None:
  print_table(
    {name: Evaluation(**content[name]) for name in ("GET", "teacher")}
  )
