"""Published one-step methods, with our runs between them."""

import importlib
import io
import json
import pathlib

import pytest
from rich.console import Console

from configs import mean_flow_digits
from get_jax.training.workdir import config_to_dict

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


@pytest.fixture
def one_step(monkeypatch):
  monkeypatch.syspath_prepend(str(EXPERIMENTS))
  return importlib.import_module("one_step")


def printed(parts):
  text = io.StringIO()
  for part in parts:
    Console(file=text, width=150).print(part)
  return text.getvalue()


@pytest.mark.parametrize("name", ["cifar10", "imagenet256"])
def test_published_rows(name, one_step):
  rows = one_step.TABLES[name]["rows"]
  text = printed(one_step.render(name, []))
  for row, (evaluations, fid, _, source) in rows.items():
    (line,) = [x for x in text.splitlines() if x.startswith(f"│ {row} ")]
    assert f" {evaluations} " in line and f"{fid:.2f}" in line
    assert source in line


def test_runs_are_printed_below_their_row_or_at_the_end(one_step, tmp_path):
  config = mean_flow_digits.get_config("smoke")
  results = {
    "scores": {"fid[digits-v1]": 3.21},
    "protocol": {"samples": 5000, "extractor": "digits-v1"},
  }
  (tmp_path / "results").mkdir()
  (tmp_path / "results" / "evaluate.json").write_text(json.dumps(results))
  (tmp_path / "config.json").write_text(json.dumps(config_to_dict(config)))
  run = one_step.Run.read(f"MF-B/4={tmp_path}")
  assert run.operations == config.num_steps * run.costs.train_operations
  text = printed(one_step.render("imagenet256", [run]))
  lines = text.splitlines()
  (place,) = [i for i, x in enumerate(lines) if x.startswith("│ MF-B/4 ")]
  assert lines[place + 1].startswith("│ MF-B/4, ours")
  assert "3.21" in lines[place + 1]
  assert "MF-B/4, ours, is not comparable: measured with digits-v1" in text
  text = printed(one_step.render("cifar10", [run]))
  assert [x for x in text.splitlines() if x.startswith("│")][-1].startswith(
    "│ MF-B/4, ours"
  )


@pytest.mark.parametrize(
  ("argument", "sentence"),
  [
    ("/nowhere", "expected ROW=WORKDIR"),
    ("MF-B/4=/nowhere", "run --mode=evaluate there first"),
  ],
)
def test_bad_runs_are_refused(argument, sentence, one_step, capsys):
  with pytest.raises(SystemExit) as exit_:
    one_step.main(["cifar10", "--run", argument])
  assert exit_.value.code == 2
  assert sentence in " ".join(capsys.readouterr().err.split())
