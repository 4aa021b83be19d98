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


def run(experiment, student, steps, fids, data="digits"):
  comparison = experiment.COMPARISONS[data]
  config = experiment.student_config(comparison, student, steps, seed=0)
  fid, other = comparison.scores
  scores = [{fid: value, other: 0.97} for value in fids]
  return experiment.Run(
    comparison,
    student,
    steps,
    experiment.costs(config),
    scores,
    steps * config.batch_size,
  )


def test_students_have_equal_costs_where_their_names_say_so(experiment):
  get, small, large = experiment.COMPARISONS["digits"].students[:3]
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
  comparison = experiment.COMPARISONS["digits"]
  get, vit = comparison.students[:2]
  runs = [
    run(experiment, get, 1_250, [0.7, 0.9]),
    run(experiment, get, 2_500, [0.5, 0.7]),
    run(experiment, vit, 2_500, [0.8]),
  ]
  text = io.StringIO()
  Console(file=text, width=140).print(experiment.table(comparison, runs))
  assert "0.600 ± 0.141" in text.getvalue()
  assert "1.01M" in text.getvalue() and "320,000" in text.getvalue()
  path = tmp_path / "plot.png"
  experiment.plot(comparison, runs, path)
  with Image.open(path) as picture:
    assert picture.width > 1000


def test_cifar10_compares_the_networks_of_the_paper(experiment):
  comparison = experiment.COMPARISONS["cifar10"]
  of = {s.name: s for s in comparison.students}
  mini = run(experiment, of["GET-M/2"], 800_000, [10.7], "cifar10")
  vit = run(experiment, of["ViT-B/2"], 800_000, [11.5], "cifar10")
  # Table 4: 19.2M parameters and 15.2 billion multiply-adds; 85.2M and 23.0.
  assert mini.costs.parameters == pytest.approx(19.2e6, rel=0.01)
  assert mini.costs.multiply_adds == pytest.approx(15.2e9, rel=0.01)
  assert vit.costs.parameters == pytest.approx(85.2e6, rel=0.01)
  assert vit.costs.multiply_adds == pytest.approx(23.0e9, rel=0.01)
  assert mini.images == 102_400_000
  config = experiment.student_config(comparison, of["ViT-B/2"], 1, seed=1)
  assert config.teacher.seed == config.pairs.seed == 1
  elsewhere = comparison.with_images("cifar10.zip")
  config = experiment.student_config(elsewhere, of["GET-T/2"], 1, seed=1)
  assert config.teacher.data.path == "cifar10.zip"
