"""Writes docs/experiments.md from the headers of configs/*.py.

python scripts/list_experiments.py
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
NOT_EXPERIMENTS = ("common",)
INTRODUCTION = """\
# Experiments

One file in `configs/` is one experiment. Its header has the command, what was
published and how, the hardware, and what is known to differ here. Run it with

```bash
python main.py --config=configs/NAME.py --workdir=runs/NAME
```

and try it first, for some seconds on a CPU and with synthetic data, with

```bash
python main.py --config=configs/NAME.py:smoke --workdir=runs/try
```

The numbers below are the papers', for comparison; they were not measured with
this code. `python scripts/list_experiments.py` writes this page.
"""


def headers() -> dict[str, list[str]]:
  """The paragraphs of every experiment's docstring, by the file's stem."""
  found = {}
  for path in sorted((ROOT / "configs").glob("*.py")):
    if path.stem not in NOT_EXPERIMENTS:
      text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
      found[path.stem] = text.split("\n\n")
  return found


def published(paragraphs: list[str]) -> str:
  """What a header says was published, on one line; "" where nothing was."""
  for paragraph in paragraphs:
    if paragraph.startswith("Published: "):
      return " ".join(paragraph.removeprefix("Published: ").split())
  return ""


def page() -> str:
  """The whole page."""
  rows = ["| config | what | published |", "| --- | --- | --- |"]
  for name, paragraphs in headers().items():
    title = " ".join(paragraphs[0].split()).rstrip(".")
    link = f"[`{name}`](../configs/{name}.py)"
    rows.append(f"| {link} | {title} | {published(paragraphs)} |")
  return INTRODUCTION + "\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
  (ROOT / "docs" / "experiments.md").write_text(page(), "utf-8")
