"""Runs the worked example of docs/equilibrium.md."""

import pathlib
import re

import numpy as np

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "equilibrium.md"


def test_implicit_regression():
  text = PAGE.read_text(encoding="utf-8")
  example = text[text.index("## A worked example") :]
  (code, *_) = re.findall(r"```python\n(.*?)```", example, flags=re.DOTALL)
  names = {}
  exec(compile(code, str(PAGE), "exec"), names)
  assert names["value"] < 1e-3
  solution = names["solution"]
  assert solution.converged.all()
  # Each sample takes the steps it needs.
  assert len(set(np.asarray(solution.steps).tolist())) > 1
