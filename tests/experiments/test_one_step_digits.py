"""The comparison of one-step methods: equal budgets, table and figure."""

import argparse
import importlib
import io
import pathlib

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from get_jax.aot.lower import count_operations
from get_jax.builders.model import build_model
from get_jax.errors import UsageError
from get_jax.models.counting import count_parameters
from get_jax.models.parameters import abstract_params

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


@pytest.fixture
def module(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  return importlib.import_module("one_step_digits")


def plan(module, method, before=6e12, step=1e10):
  costs = module.Costs(1_000_000, 1, 3e6, step)
  return module.Plan(method, before, costs, memory=2**25)


def runs(module):
  result = []
  for place, method in enumerate(module.METHODS):
    for kind in (module.OPERATIONS, module.IMAGES):
      if kind == module.OPERATIONS or method.one_step:
        scores = [
          {module.FID: 1 + place + seed, module.ACCURACY: 0.9}
          for seed in (0, 2)
        ]
        result.append(module.Run(plan(module, method), kind, 1_400, scores, []))
  return result


def test_networks_have_equally_many_parameters(module):
  parameters = [
    count_parameters(
      abstract_params(build_model(module.experiment_config(method, 0)))
    )[0]
    for method in module.METHODS
  ]
  of_get = parameters[module.METHODS.index(module.GET)]
  assert parameters == pytest.approx([of_get] * len(parameters), rel=0.1)


def test_a_budget_includes_teacher_and_pairs(module):
  config = module.experiment_config(module.GET, 0)
  teacher = config.teacher
  training = count_operations(teacher, "train")[0] * teacher.num_steps
  pairs = config.pairs.count * importlib.import_module(
    "training_runs"
  ).operations_per_image(teacher)
  assert module.preparation(config) == training + pairs
  with_pairs = plan(module, module.GET, before=training + pairs)
  steps = with_pairs.steps_within(20e12)
  assert with_pairs.operations(steps) <= 20e12
  assert with_pairs.operations(steps + 1) > 20e12


def test_a_budget_that_the_teacher_uses_up_is_refused(module):
  expected = "--budget=6.5e[+]12 leaves 50 training steps for GET"
  with pytest.raises(UsageError, match=expected):
    plan(module, module.GET).steps_within(6.5e12)


def test_settings_of_a_method_replace_those_of_its_experiment(module):
  (method,) = module.methods_of("GET (3 iterations)")
  config = module.experiment_config(method, 0)
  assert config.distillation.iterations == config.sampling.iterations == 3
  assert module.experiment_config(module.GET, 0).distillation.iterations == 6
  three, six = module.costs(config), module.Plan.of(module.GET).costs
  assert three.multiply_adds < 0.6 * six.multiply_adds


def test_methods_share_the_teacher_and_the_pairs_of_a_seed(module, tmp_path):
  configs = [module.experiment_config(m, 3, tmp_path) for m in module.METHODS]
  with_pairs = [c for c in configs if "pairs" in c]
  with_teacher = [c for c in configs if c.get("init_from")]
  assert len(with_pairs) == 4 and len(with_teacher) == 3
  for config in with_pairs:
    assert config.pairs.directory == str(tmp_path / "pairs")
  for config in with_teacher:
    assert config.init_from == str(tmp_path / "teacher")
  for config in configs:
    assert config.seed == 3
    assert config.get("teacher", config).seed == 3


def test_table(module):
  seconds = {method.name: 0.25 for method in module.METHODS}
  text = io.StringIO()
  Console(file=text, width=200).print(module.table(runs(module), seconds))
  lines = text.getvalue().splitlines()
  assert "2 seeds" in lines[0]
  (get,) = [line for line in lines if line.startswith("│ GET  ")]
  place = module.METHODS.index(module.GET)
  assert get.count(f"{2 + place:.3f} ± 1.414") == 2
  assert "1.00M" in get and "20.0T" in get and "32" in get
  (reference,) = [line for line in lines if "SiT" in line]
  assert reference.count("–") == 2


def test_what_is_stored(module):
  stored = module.to_json(runs(module)[0], {module.METHODS[0].name: 0.25})
  assert stored["operations"] == 20e12
  assert stored["seconds_per_1000_images"] == 0.25
  assert stored["scores"][1] == {module.FID: 3, module.ACCURACY: 0.9}


def test_the_figure_has_the_best_method_first(module, tmp_path):
  figure = importlib.import_module("one_step_figure")
  shade = {"worse": -1.0, "best": 1.0}
  rows = [
    figure.Row("worse", 1, [3.0, 5.0], np.full((20, 8, 8, 1), shade["worse"])),
    figure.Row("best", 36, [1.0], np.full((20, 8, 8, 1), shade["best"])),
  ]
  figure.draw(rows, "fid", tmp_path / "figure.png")
  with Image.open(tmp_path / "figure.png") as picture:
    pixels = np.asarray(picture.convert("L"))
  dark = np.argwhere(pixels[:, : pixels.shape[1] // 2] == 0)
  assert dark[:, 0].mean() > pixels.shape[0] / 2


def test_seeds_are_integers(module):
  assert module.seeds_of("0,12") == [0, 12]
  with pytest.raises(argparse.ArgumentTypeError, match="'0,a' is no list"):
    module.seeds_of("0,a")


def test_methods_are_named(module):
  get, flow = module.methods_of("GET,MeanFlow")
  assert (get.config, flow.config) == ("get_digits", "mean_flow_digits")
  with pytest.raises(argparse.ArgumentTypeError, match="'DCGAN'; expected"):
    module.methods_of("GET,DCGAN")
