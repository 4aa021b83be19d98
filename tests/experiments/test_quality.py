"""Published tables of scores, with the scores of our runs."""

import importlib
import json
import pathlib

import pytest

from get_jax.evaluation import SCORES

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
PAPERS = ("get", "dit", "uvit", "diffit", "edm")


@pytest.fixture
def quality(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  return importlib.import_module("quality")


def test_all_papers_are_offered(quality):
  assert set(quality.PAPERS) == set(PAPERS)
  files = (EXPERIMENTS / "published").glob("*.toml")
  assert {path.stem for path in files} == {*PAPERS, "one_step", "throughput"}


@pytest.mark.parametrize("paper", PAPERS)
def test_tables_are_complete_and_print(paper, quality, capsys):
  tables = quality.load_tables(paper)
  for table in tables.values():
    assert set(table.scores) <= set(SCORES)
    assert all(len(x) == len(table.scores) for x in table.rows.values())
  quality.main([paper])
  printed = capsys.readouterr().out
  assert printed.count("Published: 50000 samples") == len(tables)


def test_scores_of_runs_are_printed_below_rows(quality, tmp_path, capsys):
  results = {
    "scores": {"fid[digits-v1]": 3.21, "inception_score[digits-v1]": 9.5},
    "protocol": {"samples": 5000, "seed": 1, "extractor": "digits-v1"},
  }
  (tmp_path / "results").mkdir()
  (tmp_path / "results" / "evaluate.json").write_text(json.dumps(results))

  def call(*arguments):
    quality.main(arguments)
    return capsys.readouterr().out

  printed = call("get", "table2", "--run", f"GET-Tiny={tmp_path}")
  assert "3.21" in printed and "15.19" in printed and "samples 5000" in printed
  assert "is not comparable" in " ".join(printed.split())
  for arguments, sentence in (
    (
      ["get", "table2", "--run", f"GET-Huge={tmp_path}"],
      "names no row of the table",
    ),
    (
      ["get", "table2", "--run", "GET-Tiny=/nowhere"],
      "run --mode=evaluate there",
    ),
    (["get", "--run", "GET-Tiny=x"], "--run needs the name of a table"),
    (["get", "table9"], "get has no table 'table9'"),
    ([], "usage: "),
  ):
    with pytest.raises(SystemExit) as stopped:
      call(*arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
