"""Timing, tables, and each benchmark at a tiny size."""

import importlib
import json
import pathlib
import sys

import jax
import pytest

from get_jax.models.parameters import abstract_params

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
  """Imports modules of the benchmarks, and removes them after the test."""
  before = set(sys.modules)
  monkeypatch.syspath_prepend(str(FOLDER))
  yield importlib.import_module
  for name in set(sys.modules) - before:
    file = getattr(sys.modules[name], "__file__", None)
    if file and pathlib.Path(file).parent == FOLDER:
      del sys.modules[name]


def test_functions_run_alternately(load, monkeypatch):
  timing = load("timing")
  ticks = iter(range(100))
  monkeypatch.setattr(timing.time, "process_time", lambda: next(ticks))
  order = []
  functions = {name: lambda name=name: order.append(name) for name in "ab"}
  seconds = timing.time_alternately(functions, 3)
  assert order == list("ab" + "ab" + "ba" + "ab")
  assert seconds == {"a": [1, 1, 1], "b": [1, 1, 1]}
  assert timing.median_ratio([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == 2.0


def test_utilization(load, monkeypatch):
  timing = load("timing")

  class Device:
    def __init__(self, kind):
      self.device_kind = kind

  def utilization(kind):
    monkeypatch.setattr(timing.jax, "devices", lambda: [Device(kind)])
    return timing.utilization(98.5e12, 1.0)

  assert utilization("TPU v5 lite") == pytest.approx(0.5)
  assert utilization("NVIDIA H200") == pytest.approx(98.5 / 989)
  assert utilization("cpu") is None


def test_tables_are_added_to_existing_tables(load, tmp_path):
  tables = load("tables")
  titles = {"a": "First", "b": "Second", "c": "Third"}
  context = tables.context("python benchmarks/run.py a")
  rows = [{"network": "x", "s": 0.25}, {"network": "y", "ratio": None}]
  tables.write_tables(
    tmp_path / "cpu", {"b": {"context": context, "rows": []}}, titles
  )
  tables.write_tables(
    tmp_path / "cpu", {"a": {"context": context, "rows": rows}}, titles
  )
  contents = json.loads((tmp_path / "cpu.json").read_text())
  assert contents["a"] == {"context": context, "rows": rows} and "b" in contents
  text = (tmp_path / "cpu.md").read_text()
  assert "| x | 0.25 | – |\n| y | – | – |" in text
  assert "`python benchmarks/run.py a`: cpu (" in text
  assert text.endswith("## Third\n\nNot measured.\n")


def test_every_family_has_a_training_step(load):
  training, timing = load("training"), load("timing")
  scale = timing.Scale("tiny", 1, False)
  for family in training.FAMILIES:
    model, _, batch = training.create_at_scale(family, scale)
    apply = jax.eval_shape(
      lambda params, *x, model=model: model.apply({"params": params}, *x),
      abstract_params(model),
      *model.inputs(batch),
    )
    assert apply.shape[:3] == model.inputs(batch)[0].shape[:3], family
  (row,) = training.rows(scale, ["DiffiT"])
  assert row["images/s"] == pytest.approx(1 / row["s a step"])
  assert row["GMACs forward"] > 0 and row["MiB of the step"] > 0


@pytest.mark.parametrize(
  ("name", "column"),
  [
    ("one_step", "images/s"),
    ("pairs", "images/s"),
    ("autoencoder", "images/s"),
    ("inception", "images/s"),
    ("samplers", "us an evaluation"),
    ("equilibrium", "get_jax, s"),
  ],
)
def test_benchmark(name, column, load, tmp_path, monkeypatch):
  run = load("run")
  monkeypatch.setattr(run, "pin_to_one_core", lambda: None)
  options = ["--size=tiny", "--repeats=1", "--no-torch"]
  run.main([name, *options, f"--results={tmp_path / 'tiny'}"])
  table = json.loads((tmp_path / "tiny.json").read_text())[name]
  assert table["rows"] and all(row[column] > 0 for row in table["rows"])
  assert table["context"]["command"].startswith("python benchmarks/run.py")


def test_comparison_with_pytorch_needs_pytorch(
  load, tmp_path, monkeypatch, capsys
):
  run = load("run")
  monkeypatch.setattr(run, "pin_to_one_core", lambda: None)
  run.main(["models", "--no-torch", f"--results={tmp_path / 'tiny'}"])
  assert "it needs PyTorch" in capsys.readouterr().out
  assert not (tmp_path / "tiny.json").exists()
  with pytest.raises(SystemExit, match="2"):
    run.main(["speed"])
