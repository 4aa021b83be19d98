"""Executes the notebooks and writes them with their outputs.

  python scripts/run_notebooks.py              # all
  python scripts/run_notebooks.py quickstart

notebooks/NAME.py is the source, a percent script of jupytext;
notebooks/NAME.ipynb is written from it. An error in a cell ends the run, and
leaves the old .ipynb.
"""

import argparse
import pathlib

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
TIMEOUT = 3600  # seconds for a cell


def names() -> list[str]:
  """Returns the names of all notebooks."""
  return sorted(path.stem for path in FOLDER.glob("*.py"))


def execute(name: str, folder: pathlib.Path) -> nbformat.NotebookNode:
  """Executes a notebook from top to bottom.

  Args:
    name: name of the notebook.
    folder: current folder of the cells.

  Returns:
    The notebook with its outputs.

  Raises:
    CellExecutionError: a cell raised an error.
  """
  notebook = jupytext.read(FOLDER / f"{name}.py")
  client = nbclient.NotebookClient(
    notebook,
    timeout=TIMEOUT,
    kernel_name="python3",
    resources={"metadata": {"path": str(folder)}},
    record_timing=False,
  )
  client.execute()
  return notebook


def main() -> None:
  """Executes the notebooks of the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("names", nargs="*", choices=[[], *names()])
  for name in parser.parse_args().names or names():
    notebook = execute(name, FOLDER)
    # What differs from run to run, or from machine to machine.
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
      cell.metadata.pop("execution", None)
    path = FOLDER / f"{name}.ipynb"
    nbformat.write(notebook, path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
  main()
