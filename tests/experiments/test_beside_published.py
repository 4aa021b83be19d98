"""Published tables with our runs beside them."""

import importlib
import json
import pathlib
import sys

import pytest

from get_jax.evaluation import SCORES

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
PAPERS = ("get", "dit", "uvit", "diffit", "edm")


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))


@pytest.mark.parametrize("paper", PAPERS)
def test_tables_are_whole_and_print(paper, capsys, monkeypatch):
  tables = importlib.import_module(f"quality_{paper}").TABLES
  for table in tables.values():
    assert set(table.scores) <= set(SCORES)
    assert all(len(x) == len(table.scores) for x in table.rows.values())
  monkeypatch.setattr(sys, "argv", ["quality"])
  importlib.import_module("beside_published").main(tables)
  printed = capsys.readouterr().out
  assert printed.count("Published: 50000 samples") == len(tables)


def test_runs_stand_beside_rows(tmp_path, capsys, monkeypatch):
  results = {
    "scores": {"fid[digits-v1]": 3.21, "inception_score[digits-v1]": 9.5},
    "protocol": {"samples": 5000, "seed": 1, "extractor": "digits-v1"},
  }
  (tmp_path / "results").mkdir()
  (tmp_path / "results" / "evaluate.json").write_text(json.dumps(results))
  beside = importlib.import_module("beside_published")
  tables = importlib.import_module("quality_get").TABLES

  def call(*arguments):
    monkeypatch.setattr(sys, "argv", ["quality", *arguments])
    beside.main(tables)
    return capsys.readouterr().out

  printed = call("table2", "--run", f"GET-Tiny={tmp_path}")
  assert "3.21" in printed and "15.19" in printed and "samples 5000" in printed
  assert "does not compare" in " ".join(printed.split())
  for arguments, sentence in (
    (["table2", "--run", f"GET-Huge={tmp_path}"], "names no row of the table"),
    (["table2", "--run", "GET-Tiny=/nowhere"], "run --mode=evaluate there"),
    (["--run", "GET-Tiny=x"], "--run needs the name of a table"),
  ):
    with pytest.raises(SystemExit) as stopped:
      call(*arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
