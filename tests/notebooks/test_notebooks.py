"""The notebooks run from top to bottom, and are up to date."""

import importlib.util

import jupytext
import nbformat
import pytest

from tests.helpers import ROOT, environment


def script():
  path = ROOT / "scripts" / "run_notebooks.py"
  spec = importlib.util.spec_from_file_location("run_notebooks", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


NAMES = script().names()


@pytest.mark.parametrize("name", NAMES)
def test_all_cells_run(name, tmp_path, monkeypatch):
  for key, value in environment().items():
    monkeypatch.setenv(key, value)
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  monkeypatch.delenv("MPLBACKEND", raising=False)
  script().execute(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_written_from_the_script(name):
  folder = ROOT / "notebooks"
  source = jupytext.read(folder / f"{name}.py")
  notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
  hint = f"run python scripts/run_notebooks.py {name}"
  assert [c.source for c in source.cells] == [
    c.source for c in notebook.cells
  ], hint
  code = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert any(
    "image/png" in output.get("data", {})
    for cell in code
    for output in cell.outputs
  )
  # All cells were run, and none failed or warned.
  assert all(cell.execution_count for cell in code)
  outputs = [output for cell in code for output in cell.outputs]
  assert not [o for o in outputs if o.get("name") == "stderr"], hint
  assert not [o for o in outputs if o.output_type == "error"]
