"""Writes docs/experiments.md from the docstrings of configs/.

python scripts/list_experiments.py
"""

import pathlib

from get_jax.builders.experiments import families, recipe_header

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "experiments.md"
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

`--config=NAME` finds the same file from any folder, and `--list` prints the
names. The installed command `get_jax` has the flags of `main.py`.

The numbers below are those of the papers, for comparison; they were not
measured with this code. `python scripts/list_experiments.py` writes this page.
"""


def page() -> str:
  """Returns the whole page."""
  sections = [INTRODUCTION]
  for recipe, experiments in families().items():
    title, *details = recipe_header(recipe)
    sections.append(f"## {' '.join(title.split()).rstrip('.')}\n")
    sections += [f"{paragraph.rstrip()}\n" for paragraph in details]
    rows = ["| config | experiment | published |", "| --- | --- | --- |"]
    for experiment in experiments:
      link = f"[`{experiment.name}`](../configs/{experiment.path.name})"
      rows.append(f"| {link} | {experiment.title} | {experiment.published} |")
    sections.append("\n".join(rows) + "\n")
  return "\n".join(sections)


if __name__ == "__main__":
  PAGE.write_text(page(), "utf-8")
