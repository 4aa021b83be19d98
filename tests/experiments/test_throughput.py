"""Published speeds of training beside estimated ones."""

import importlib
import pathlib

import pytest

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


@pytest.fixture
def throughput(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  return importlib.import_module("throughput")


def test_share_and_estimate(throughput):
  runs = [run for run in throughput.load_runs() if run.hardware == "A100"]
  table = throughput.compare(runs[:1])
  columns = {column.header: list(column.cells) for column in table.columns}
  # DiT-XL/2: 118.6 billion multiply-adds, twice as many operations, three times
  # as many with the backward pass; 107.5 images/s on 312e12 operations/s.
  assert columns["share of the peak"] == ["24.5%"]
  assert columns["estimate / published"] == ["2.04"]


def test_every_run_has_an_experiment(throughput):
  for run in throughput.load_runs():
    assert (throughput.ROOT / "configs" / f"{run.config}.py").is_file()
    assert run.images_per_second > 0
