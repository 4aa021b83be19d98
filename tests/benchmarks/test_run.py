"""Timing, tables, and the benchmarks at a tiny size."""

import importlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from get_jax.models.parameters import abstract_params

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
TINY = ["--size=tiny", "--repeats=1", "--no-torch"]


@pytest.fixture
def load(monkeypatch):
  """Imports modules of the benchmarks, and removes them after the test."""
  before = set(sys.modules)
  monkeypatch.syspath_prepend(str(FOLDER))
  yield importlib.import_module
  for name in set(sys.modules) - before:
    file = getattr(sys.modules[name], "__file__", None)
    if file and FOLDER in pathlib.Path(file).parents:
      del sys.modules[name]


@pytest.fixture
def run(load, monkeypatch):
  """The module `run`, which leaves this process as it is."""
  module = load("run")
  monkeypatch.setattr(module, "use_cores", lambda count: None)
  monkeypatch.setattr(module, "keep_freed_memory", lambda: True)
  return module


def test_functions_run_alternately(load, monkeypatch):
  timing = load("timing")
  ticks = iter(range(100))
  monkeypatch.setattr(timing.time, "process_time", lambda: next(ticks))
  monkeypatch.setattr(timing.time, "perf_counter", lambda: 10.0)
  order = []
  functions = {name: lambda name=name: order.append(name) for name in "ab"}
  seconds = timing.time_alternately(functions, 3)
  assert order == list("ab" + "ab" + "ba" + "ab")
  assert seconds == {"a": [(0, 1)] * 3, "b": [(0, 1)] * 3}


def test_one_core_is_timed_in_cpu_seconds_and_two_in_wall_seconds(
  load, monkeypatch
):
  timing = load("timing")
  runs = [timing.Seconds(1.0, 2.0), timing.Seconds(3.0, 8.0)]
  baseline = [timing.Seconds(1.0, 1.0), timing.Seconds(1.0, 2.0)]
  monkeypatch.setattr(timing, "number_of_cores", lambda: 1)
  assert timing.medians({"a": runs}) == {"a": 5.0}
  assert timing.median_ratio(runs, baseline) == 3.0
  monkeypatch.setattr(timing, "number_of_cores", lambda: 2)
  assert timing.medians({"a": runs}) == {"a": 2.0}
  assert timing.median_ratio(runs, baseline) == 2.0
  assert timing.median_cpu(runs) == 5.0


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


def test_cases_are_added_to_existing_results(load, tmp_path):
  tables = load("tables")
  path = tmp_path / "cpu"
  conditions = tables.context("python benchmarks/run.py a", "small", 1)
  rows = [{"network": "x", "s": 0.25}, {"network": "y", "ratio": None}]
  tables.add(path, "b", "first [1]", conditions, [])
  tables.add(path, "a", "first [1]", conditions, rows)
  tables.add(path, "a", "old [1]", conditions, [])
  tables.add(path, "a", "first [2]", conditions | {"cores": 2}, [])
  tables.remove_unknown(path, "a", {"first [1]"}, "[1]")
  results = tables.load(path)
  assert set(results["a"]) == {"first [1]", "first [2]"} and "b" in results
  assert results["a"]["first [1]"] == {"context": conditions, "rows": rows}
  titles = {"a": "First", "b": "Second", "c": "Third"}
  tables.write_page(path, titles, {"a": "A note."}, "The summary.")
  text = path.with_suffix(".md").read_text()
  assert "The summary.\n\n## First\n\nA note.\n\n`python" in text
  assert "| x | 0.25 | – |\n| y | – | – |" in text
  assert text.endswith("Not measured: `python benchmarks/run.py c`.\n")


def test_a_case_is_done_at_its_commit_size_and_cores(load):
  tables = load("tables")
  conditions = tables.context("", "small", 1)
  results = {"a": {"x": {"context": conditions, "rows": []}}}
  assert tables.is_done(results, "a", "x", conditions)
  assert not tables.is_done(results, "a", "y", conditions)
  for change in ({"commit": "other"}, {"size": "tiny"}, {"cores": 2}):
    assert not tables.is_done(results, "a", "x", conditions | change)


def test_goals(load):
  goals = load("goals")
  common = {"type": "float32", "cores": 1, "task": "forward"}
  table = goals.summarize(
    [
      common
      | {"network": name, "/ PyTorch": ratio, "of the peak": f"{share:.0%}"}
      for name, ratio, share in (
        ("DiT-S/2", 0.8, 0.96),
        ("DiT-S/4", 1.1, 0.5),
        ("GET-T/2", 0.7, 0.1),
        ("DDPM++-32", 0.9, 0.8),
      )
    ]
  )
  found = {row["goal"]: (row["met"], row["network"]) for row in table}
  assert found == {
    "time of forward over PyTorch's at most 1.0": ("3 of 4", "DiT-S/4"),
    "share of the peak of transformers, forward, at least 0.95": (
      "1 of 2",
      "DiT-S/4",
    ),
    "share of the peak of U-Nets, forward, at least 0.75": (
      "1 of 1",
      "DDPM++-32",
    ),
  }


def test_every_network_has_inputs(load):
  networks = load("networks")
  for network in (*networks.SMALL, *networks.PAPER):
    model = network.create("bfloat16")
    if network in networks.PAPER:  # One block is traced faster than 28.
      model = model.clone(depth=1)
    inputs = jax.eval_shape(
      lambda model=model, batch=network.batch: networks.random_inputs(
        model, batch
      )
    )
    if "cudnn" in network.fields.values():
      model = model.clone(attention="xla")
    out = jax.eval_shape(
      lambda params, inputs, model=model, options=network.options: model.apply(
        {"params": params}, **inputs, **options
      ),
      abstract_params(model),
      inputs,
    )
    assert out.shape[:3] == model.inputs(network.batch)[0].shape[:3]


@pytest.mark.skipif(
  importlib.util.find_spec("torch") is None, reason="needs PyTorch"
)
def test_networks_equal_those_in_pytorch(load):
  networks, twins = load("networks"), load("torch_networks")
  for network in networks.TINY:
    passes = networks.jax_passes(network, "float32")
    twin = twins.torch_passes(network, "float32", compiled=False)
    twins.check_equal_passes(network, "float32", passes, twin)


def test_equal_outputs_are_required(load):
  networks = load("networks")
  x = np.ones((1, 2, 2, 3), np.float32)
  networks.check_equal("outputs", x, x, "float32")
  with pytest.raises(AssertionError, match="the outputs differ by"):
    networks.check_equal("outputs", 1.001 * x, x, "float32")
  with pytest.raises(AssertionError, match="the gradients differ by"):
    networks.check_equal("gradients", np.nan * x, x, "float32")


@pytest.mark.parametrize(
  ("name", "column"),
  [
    ("machine", "copy, GB/s"),
    ("statistics", "get_jax, ms"),
    ("pipeline", "records per CPU second"),
    ("startup", "wall s"),
    ("samplers", "us an evaluation"),
    ("scaling", "ms"),
  ],
)
def test_section_of_a_cpu(name, column, run, tmp_path):
  status = run.main([name, *TINY, "--cores=1", f"--results={tmp_path / 'r'}"])
  assert status == 0
  cases = json.loads((tmp_path / "r.json").read_text())[name]
  for case, entry in cases.items():
    assert case.endswith(" [1]")
    assert entry["rows"] and all(row[column] > 0 for row in entry["rows"])
    command = entry["context"]["command"]
    assert command.startswith(f"python benchmarks/run.py {name} --size=tiny")
    assert "--cores" not in command


def test_a_stopped_run_continues(run, load, tmp_path, monkeypatch, capfd):
  """Failed cases are named and repeated; measured ones are not."""
  calls = []

  def fails(rows):
    calls.append("fails")
    if len(calls) < 3:
      raise ValueError("no such machine")
    return rows

  def works():
    calls.append("works")
    return [{"s": 1.0}]

  machine = load("machine")
  monkeypatch.setattr(
    machine,
    "cases",
    lambda scale: {"a": lambda: fails([{"s": 2.0}]), "b": works},
  )
  arguments = ["machine", *TINY, "--cores=1", f"--results={tmp_path / 'r'}"]
  assert run.main(arguments) == 1
  assert "failed: machine: a [1]" in capfd.readouterr().err
  assert run.main(arguments) == 0
  assert calls == ["fails", "works", "fails"]
  assert "| 2 |" in (tmp_path / "r.md").read_text()
  assert run.main([*arguments, "--again"]) == 0
  assert calls[3:] == ["fails", "works"]


def test_unknown_names_are_refused(run, capsys):
  with pytest.raises(SystemExit, match="2"):
    run.main(["speed"])
  assert "expected some of: all, gpu, machine" in capsys.readouterr().err


def test_the_benchmarks_of_an_accelerator_run_on_a_cpu(tmp_path):
  """`gpu.sh` from beginning to end, in one process."""
  command = ["bash", str(FOLDER / "gpu.sh"), *TINY, "--cores=1"]
  environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHON": sys.executable}
  subprocess.run(
    [*command, f"--results={tmp_path / 'card'}"],
    env=environment | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    check=True,
    capture_output=True,
  )
  results = json.loads((tmp_path / "card.json").read_text())
  assert set(results) == {
    "machine",
    "networks",
    "one_step",
    "gradients",
    "pairs",
    "autoencoder",
    "inception",
    "statistics",
    "checkpoints",
    "compile",
  }
  tasks = [
    row["task"]
    for entry in results["networks"].values()
    for row in entry["rows"]
  ]
  assert tasks == ["forward", "forward+backward", "training step"]
  rows = [
    row for entry in results["gradients"].values() for row in entry["rows"]
  ]
  assert {row["gradient"] for row in rows} == {
    "unrolled",
    "checkpointed",
    "phantom, 5 steps",
    "implicit",
  }
  page = (tmp_path / "card.md").read_text()
  assert "## Goals of the networks" in page
  assert page.count("Not measured:") == 4  # sections of a CPU alone
