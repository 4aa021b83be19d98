"""The comparison of GET with ViT: equal costs, table and plot."""

import importlib
import io
import pathlib

import pytest
from PIL import Image
from rich.console import Console

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


@pytest.fixture
def experiment(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  return importlib.import_module("get_vs_vit")


def run(experiment, student, steps, fids):
  config = experiment.student_config(student, steps, seed=0)
  scores = [
    {experiment.FID: fid, "class_accuracy[digits-v1]": 0.97} for fid in fids
  ]
  return experiment.Run(
    student, steps, experiment.costs(config), scores, steps * config.batch_size
  )


def test_students_have_equal_costs_where_their_names_say_so(experiment):
  get, small, large = experiment.STUDENTS[:3]
  runs = {s.name: run(experiment, s, 2_500, [1.0]) for s in (get, small, large)}
  of_get = runs["GET"]
  params = runs["ViT, equal parameters"].costs.parameters
  assert params == pytest.approx(of_get.costs.parameters, rel=0.12)
  macs = runs["ViT, equal multiply-adds"].costs.multiply_adds
  assert macs == pytest.approx(of_get.costs.multiply_adds, rel=0.05)
  for steps, of_vit in ((2_500, 9_000), (7_500, 27_000)):
    operations = run(experiment, small, of_vit, [1.0]).operations
    assert operations == pytest.approx(
      run(experiment, get, steps, [1.0]).operations, rel=0.02
    )


def test_table_and_plot(experiment, tmp_path):
  get, vit = experiment.STUDENTS[:2]
  runs = [
    run(experiment, get, 1_250, [0.7, 0.9]),
    run(experiment, get, 2_500, [0.5, 0.7]),
    run(experiment, vit, 2_500, [0.8]),
  ]
  text = io.StringIO()
  Console(file=text, width=140).print(experiment.table(runs))
  assert "0.600 ± 0.141" in text.getvalue()
  assert "1.01M" in text.getvalue() and "320,000" in text.getvalue()
  path = tmp_path / "plot.png"
  experiment.plot(runs, path)
  with Image.open(path) as picture:
    assert picture.width > 1000
