"""The notebooks run from top to bottom, and are up to date."""

import functools
import importlib.util

import jupytext
import nbformat
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.helpers import ROOT, environment


def script():
  path = ROOT / "scripts" / "run_notebooks.py"
  spec = importlib.util.spec_from_file_location("run_notebooks", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def image_folder(folder):
  """Writes 40 digits of two classes, and returns their folder."""
  digits = load_digits(n_class=2)
  for index, (image, label) in enumerate(
    zip(digits.images[:40], digits.target[:40], strict=True)
  ):
    path = folder / "images" / f"digit{label}" / f"{index}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 15.9375).astype("uint8")).save(path)
  return folder / "images"


def tiny_distillation(folder):
  """Returns parameters of a tiny experiment on a folder of images."""
  return dict(
    EXPERIMENT="get_digits:smoke",
    FOLDER=str(image_folder(folder)),
    SIZE=8,
    CHANNELS=1,
    EXTRACTOR="digits-v1",
    WIDTH=32,
    TEACHER_STEPS=4,
    STUDENT_STEPS=4,
    PAIRS=64,
    SAMPLES=64,
    ITERATIONS=(1,),
  )


NAMES = script().names()
# Parameters that make a notebook small, by name.
PARAMETERS = {"distil_your_own": tiny_distillation}


@functools.cache
def read(name):
  """Returns the stored notebook."""
  return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code(name):
  return [cell for cell in read(name).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_all_cells_run(name, tmp_path, monkeypatch):
  for key, value in environment().items():
    monkeypatch.setenv(key, value)
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  monkeypatch.delenv("MPLBACKEND", raising=False)
  parameters = PARAMETERS[name](tmp_path) if name in PARAMETERS else None
  script().execute(name, tmp_path, parameters)


def test_unknown_parameters_are_errors(tmp_path):
  with pytest.raises(KeyError, match="sets TEACHER"):
    script().execute("distil_your_own", tmp_path, {"TEACHER": 1})


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_written_from_the_script(name):
  source = jupytext.read(ROOT / "notebooks" / f"{name}.py")
  hint = f"run python scripts/run_notebooks.py {name}"
  assert [c.source for c in source.cells] == [
    c.source for c in read(name).cells
  ], hint
  assert any(
    "image/png" in output.get("data", {})
    for cell in code(name)
    for output in cell.outputs
  )
  # All cells were run, and none failed or warned.
  assert all(cell.execution_count for cell in code(name))
  outputs = [output for cell in code(name) for output in cell.outputs]
  assert not [o for o in outputs if o.output_type == "error"]
  assert not [o for o in outputs if o.get("name") == "stderr"], hint
