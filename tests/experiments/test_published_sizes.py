"""The tables of published sizes name models that exist and compare rightly."""

import pathlib
import sys

import pytest

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
SCRIPTS = sorted(path.stem for path in EXPERIMENTS.glob("sizes_*.py"))


@pytest.fixture(autouse=True)
def experiments_can_be_imported(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))


def test_compare():
  import published_sizes

  assert published_sizes.compare("33", 33_142_016, 1e6) == (
    "33.14",
    "rounds to it",
  )
  assert published_sizes.compare("85.2", 85_271_820, 1e6)[1] == "cut off to it"
  assert published_sizes.compare("8.9", 8_558_092, 1e6) == (
    "8.558",
    "differs by -3.842%",
  )
  assert published_sizes.compare(None, 1_500_000, 1e6) == ("1.50", "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_rows_name_models(script):
  import published_sizes

  module = __import__(script)
  assert sys.modules["published_sizes"] is published_sizes
  for table in module.TABLES:
    for row in table.rows:
      published_sizes.create_model(row.model, **row.fields)
