"""The table of a step that is compiled for pods."""

import argparse
import importlib
import json

import pytest

from tests.helpers import ROOT

REPORT = {
  "fits": True,
  "needed": 4 * 2**30,
  "available": 16 * 2**30,
  "operations": 300,
  "operations_done": 400,
  "collectives": {
    "all-gather": {"bytes": 2 * 2**30},
    "reduce-scatter": {"bytes": 2**30},
    "all-reduce": {"bytes": 2**29},
  },
  "roofline": {"compute": 0.08, "memory": 0.1, "sending": 0.1, "floor": 0.04},
}


@pytest.fixture
def pods(monkeypatch):
  monkeypatch.syspath_prepend(str(ROOT / "experiments"))
  return importlib.import_module("pod_scaling")


def cells(row):
  return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_row(pods):
  pod = pods.Pod("v5e:4x4", 16, 256, 16)
  row = cells(pods.format_row(pod, REPORT))
  columns = dict(zip(cells(pods.HEADER.splitlines()[0]), row, strict=True))
  assert columns["mesh (data x fsdp)"] == "1 x 16"
  assert columns["gathered"] == "2.00" and columns["reduced"] == "1.50"
  assert columns["step, ms"] == "100 to 200"
  assert columns["bound by"] == "memory"
  assert columns["efficiency"] == "50% to 100%"
  # Of 40 ms at the full peak, 30 are not recomputed.
  assert columns["MFU"] == "15% to 30%"
  assert columns["images/s"] == "1,280 to 2,560"


def test_a_step_that_does_not_fit(pods):
  pod = pods.Pod("v5e:4x4", 16, 256, 16)
  report = {"fits": False, "available": 2**34}
  row = cells(pods.format_row(pod, report))
  assert len(row) == len(cells(pods.HEADER.splitlines()[0]))
  assert row[4] == "does not fit (16.00)"


def test_what_is_compiled_is_kept(pods, tmp_path, monkeypatch):
  monkeypatch.setattr(pods, "RUNS", tmp_path)
  calls = []

  def compile_step(command, **_):
    calls.append(command)
    (workdir,) = (
      word.removeprefix("--workdir=")
      for word in command
      if word.startswith("--workdir=")
    )
    results = tmp_path / workdir / "results"
    results.mkdir(parents=True)
    (results / "compile.json").write_text(json.dumps(REPORT))

  monkeypatch.setattr(pods.subprocess, "run", compile_step)
  for _ in range(2):
    assert pods.compile_report("get_base_imagenet256", pods.PODS[0]) == REPORT
  (command,) = calls
  assert "--config=get_base_imagenet256" in command
  assert "--config.model.scan=True" in command
  assert "--config.batch_size=256" in command


def test_names_of_pods(pods):
  assert pods.pods_of("gpu")[-1].chips == 1024
  (slices,) = pods.pods_of("v5e:16x16/2")
  assert slices.slices == 2
  with pytest.raises(argparse.ArgumentTypeError, match=r"'v5e:3x3' is no pod"):
    pods.pods_of("v5e:4x4,v5e:3x3")
