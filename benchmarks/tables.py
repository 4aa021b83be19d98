"""Results of the benchmarks as JSON, and as tables in Markdown.

RESULTS.json has, by section and case, the conditions of the measurement and its
rows. A case is written as soon as it is measured, so a run that was stopped
continues where it was.
"""

import json
import os
import pathlib
import subprocess
from typing import Any

import jax

Row = dict[str, Any]
ROOT = pathlib.Path(__file__).parents[1]
# Code whose change makes a measurement outdated.
MEASURED = ("get_jax", "benchmarks", ":!benchmarks/results")


def commit() -> str:
  """Returns the last commit of the measured code, "+" if it has changes."""

  def git(*arguments):
    command = ["git", "-C", str(ROOT), *arguments, "--", *MEASURED]
    return subprocess.run(
      command, capture_output=True, text=True, check=False
    ).stdout.strip()

  changes = git("status", "--porcelain")
  return (git("log", "-1", "--format=%h") or "unknown") + "+" * bool(changes)


def context(command: str, size: str, cores: int) -> Row:
  """Returns the conditions of a measurement.

  Args:
    command: the command line of the run.
    size: name of the scale.
    cores: number of cores in use.
  """
  return {
    "device": jax.devices()[0].device_kind,
    "host": _processor(),
    "cores": cores,
    "jax": jax.__version__,
    "torch": _torch_version(),
    "size": size,
    "commit": commit(),
    "command": command,
  }


def load(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Returns the results in PATH.json by section and case."""
  file = path.with_suffix(".json")
  return json.loads(file.read_text("utf-8")) if file.exists() else {}


def is_done(
  results: dict[str, dict[str, Any]], section: str, case: str, conditions: Row
) -> bool:
  """Returns whether a case was measured at the same commit and size."""
  entry = results.get(section, {}).get(case)
  keys = ("commit", "size", "cores")
  return entry is not None and all(
    entry["context"][key] == conditions[key] for key in keys
  )


def remove_unknown(
  path: pathlib.Path, section: str, cases: set[str], suffix: str
) -> None:
  """Removes cases of a section that end with a suffix and no longer exist."""
  results = load(path)
  measured = results.get(section, {})
  outdated = {
    case for case in measured if case.endswith(suffix) and case not in cases
  }
  if outdated:
    results[section] = {k: v for k, v in measured.items() if k not in outdated}
    _write(path, results)


def add(
  path: pathlib.Path, section: str, case: str, conditions: Row, rows: list[Row]
) -> None:
  """Writes the rows of a case to PATH.json.

  Args:
    path: without suffix. Other cases are kept.
    section: name of the section.
    case: name of the case.
    conditions: see `context`.
    rows: the rows.
  """
  results = load(path)
  entry = {"context": conditions, "rows": rows}
  results.setdefault(section, {})[case] = entry
  _write(path, results)


def _write(path: pathlib.Path, results: dict[str, dict[str, Any]]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".part")
  temporary.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
  os.replace(temporary, path.with_suffix(".json"))


def write_page(
  path: pathlib.Path,
  titles: dict[str, str],
  notes: dict[str, str],
  summary: str = "",
) -> None:
  """Writes all results of PATH.json as tables to PATH.md.

  Args:
    path: without suffix.
    titles: titles of the sections by name, in the order of the page.
    notes: by section, a sentence about its columns.
    summary: text before the sections.
  """
  results = load(path)
  parts = [f"# Benchmarks: {path.name}"]
  if summary:
    parts += ["## Goals of the networks", summary]
  for name, title in titles.items():
    parts.append(f"## {title}")
    cases = results.get(name)
    if not cases:
      parts.append(f"Not measured: `python benchmarks/run.py {name}`.")
      continue
    conditions = [entry["context"] for entry in cases.values()]
    parts += [notes[name]] if name in notes else []
    parts.append("\n".join(dict.fromkeys(map(_sentence, conditions))))
    parts.append(markdown([r for e in cases.values() for r in e["rows"]]))
  text = "\n\n".join(parts) + "\n"
  path.with_suffix(".md").write_text(text, "utf-8")


def _sentence(conditions: Row) -> str:
  return (
    "`{command}` at {commit}: {device} ({host}), jax {jax}, torch {torch}."
  ).format(**conditions)


def markdown(rows: list[Row]) -> str:
  """Formats rows as a table; a dash stands for a missing value or None."""
  keys = list(dict.fromkeys(key for row in rows for key in row))

  def cell(value):
    if value is None:
      return "–"
    if isinstance(value, float):
      return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)

  lines = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
  for row in rows:
    lines.append("| " + " | ".join(cell(row.get(k)) for k in keys) + " |")
  return "\n".join(lines)


def _processor() -> str:
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  if cpuinfo.exists():
    for line in cpuinfo.read_text("utf-8").splitlines():
      if line.startswith("model name"):
        return line.split(":")[1].strip()
  return "unknown processor"


def _torch_version() -> str:
  try:
    import torch
  except ImportError:
    return "none"
  return torch.__version__
