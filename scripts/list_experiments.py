"""Writes docs/experiments.md from the docstrings of configs/.

python scripts/list_experiments.py
"""

import ast
import pathlib

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
NOT_EXPERIMENTS = ("common",)
INTRODUCTION = """\
# Experiments

Each file in `configs/` is one experiment. Its header has the command, the
published number, and what holds for this experiment only. What holds for a
family (how the numbers were measured, the hardware, known differences from the
official code) is in the docstring of its recipe in `configs/recipes/`, and at
the start of each section below. Run an experiment with

```bash
python main.py --config=configs/NAME.py --workdir=runs/NAME
```

To try it first, for a few seconds on a CPU and with synthetic data:

```bash
python main.py --config=configs/NAME.py:smoke --workdir=runs/try
```

The numbers below are those of the papers, for comparison; they were not
measured with this code. `python scripts/list_experiments.py` writes this page.
"""


def paragraphs(path: pathlib.Path) -> list[str]:
  """Returns the paragraphs of a file's docstring, the title first."""
  text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
  if text is None:
    raise ValueError(f"{path} has no docstring; expected the header")
  return text.split("\n\n")


def recipe(path: pathlib.Path) -> str:
  """Returns the name of the recipe in `configs/recipes/` that a config uses."""
  for node in ast.parse(path.read_text("utf-8")).body:
    if isinstance(node, ast.ImportFrom) and node.module == "configs.recipes":
      return node.names[0].name
  raise ValueError(f"{path} imports no recipe; expected one of configs/recipes")


def published(header: list[str], recipe_name: str) -> str:
  """Returns the published numbers of a header on one line, "" without any."""
  for paragraph in header:
    if paragraph.startswith("Published: "):
      line = " ".join(paragraph.removeprefix("Published: ").split())
      return line.removesuffix(f" See configs/recipes/{recipe_name}.py.")
  return ""


def page() -> str:
  """Returns the whole page."""
  families: dict[str, list[pathlib.Path]] = {}
  for path in sorted(CONFIGS.glob("*.py")):
    if path.stem not in NOT_EXPERIMENTS:
      families.setdefault(recipe(path), []).append(path)
  sections = [INTRODUCTION]
  for name, paths in families.items():
    title, *details = paragraphs(CONFIGS / "recipes" / f"{name}.py")
    sections.append(f"## {' '.join(title.split()).rstrip('.')}\n")
    sections += [f"{paragraph.rstrip()}\n" for paragraph in details]
    rows = ["| config | experiment | published |", "| --- | --- | --- |"]
    for path in paths:
      header = paragraphs(path)
      what = " ".join(header[0].split()).rstrip(".")
      link = f"[`{path.stem}`](../configs/{path.name})"
      rows.append(f"| {link} | {what} | {published(header, name)} |")
    sections.append("\n".join(rows) + "\n")
  return "\n".join(sections)


if __name__ == "__main__":
  target = CONFIGS.parent / "docs" / "experiments.md"
  target.write_text(page(), "utf-8")
