"""Published tables of model sizes: existing models and correct comparisons."""

import importlib
import pathlib

import pytest

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
PAPERS = ("diffit", "dit", "get", "uvit")


@pytest.fixture
def sizes(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  return importlib.import_module("sizes")


def test_compare(sizes):
  assert sizes.compare("33", 33_142_016, 1e6) == ("33.14", "rounds to it")
  assert sizes.compare("85.2", 85_271_820, 1e6)[1] == "truncated to it"
  assert sizes.compare("8.9", 8_558_092, 1e6) == (
    "8.558",
    "differs by -3.842%",
  )
  assert sizes.compare(None, 1_500_000, 1e6) == ("1.50", "")


def test_all_papers_are_offered(sizes):
  assert set(sizes.PAPERS) == set(PAPERS)


@pytest.mark.parametrize("paper", PAPERS)
def test_rows_name_models(paper, sizes):
  for table in sizes.load_tables(paper):
    for row in table.rows:
      model = sizes.create_model(row.model, **row.fields)
      if callable(row.extra_macs):
        assert row.extra_macs(model) > 0
