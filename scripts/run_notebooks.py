"""Executes the notebooks and writes them with their outputs.

  python scripts/run_notebooks.py              # all
  python scripts/run_notebooks.py quickstart

notebooks/NAME.py is the source, a percent script of jupytext;
notebooks/NAME.ipynb is written from it. An error in a cell ends the run, and
leaves the old .ipynb.
"""

import argparse
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
TIMEOUT = 3600  # seconds for a cell
# A line of `get_jax.progress` where there is no terminal.
PROGRESS = r"[^:\n]+: \d+ of \d+ \w+, .* left.*\n"


def names() -> list[str]:
  """Returns the names of all notebooks."""
  return sorted(path.stem for path in FOLDER.glob("*.py"))


def execute(
  name: str,
  folder: pathlib.Path,
  parameters: Mapping[str, Any] | None = None,
) -> nbformat.NotebookNode:
  """Executes a notebook from top to bottom.

  Args:
    name: name of the notebook.
    folder: current folder of the cells.
    parameters: values of variables that replace those of the cell with the tag
      "parameters", by name.

  Returns:
    The notebook with its outputs.

  Raises:
    CellExecutionError: a cell raised an error.
    KeyError: that cell does not set one of the parameters.
  """
  notebook = jupytext.read(FOLDER / f"{name}.py")
  if parameters:
    _insert_parameters(notebook, parameters)
  client = nbclient.NotebookClient(
    notebook,
    timeout=TIMEOUT,
    kernel_name="python3",
    resources={"metadata": {"path": str(folder)}},
    record_timing=False,
  )
  client.execute()
  return notebook


def _insert_parameters(
  notebook: nbformat.NotebookNode, parameters: Mapping[str, Any]
) -> None:
  """Inserts a cell that sets parameters after the cell of the defaults."""
  tagged = [
    index
    for index, cell in enumerate(notebook.cells)
    if "parameters" in cell.metadata.get("tags", ())
  ]
  defaults = "".join(notebook.cells[index].source for index in tagged)
  for name in parameters:
    if not re.search(rf"\b{name}\b.* = ", defaults):
      raise KeyError(f"no cell with the tag parameters sets {name}")
  source = "\n".join(f"{name} = {v!r}" for name, v in parameters.items())
  notebook.cells.insert(tagged[-1] + 1, nbformat.v4.new_code_cell(source))


def _is_progress(output: nbformat.NotebookNode) -> bool:
  """Returns whether an output is lines of `get_jax.progress` alone."""
  if output.get("name") != "stderr":
    return False
  return re.fullmatch(f"({PROGRESS})+", output.text) is not None


def main() -> None:
  """Executes the notebooks of the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("names", nargs="*", choices=[[], *names()])
  for name in parser.parse_args().names or names():
    with tempfile.TemporaryDirectory() as folder:
      notebook = execute(name, pathlib.Path(folder))
    # What differs from run to run, or from machine to machine.
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
      cell.metadata.pop("execution", None)
      if cell.cell_type == "code":
        cell.outputs = [o for o in cell.outputs if not _is_progress(o)]
    path = FOLDER / f"{name}.ipynb"
    nbformat.write(notebook, path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
  main()
