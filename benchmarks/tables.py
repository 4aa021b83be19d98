"""Writes result tables as JSON and Markdown."""

import json
import pathlib
from typing import Any

import jax


def context(command: str) -> dict[str, str]:
  """Returns the conditions of a measurement: device, host, versions, command.

  Args:
    command: the command line of the run.
  """
  return {
    "device": jax.devices()[0].device_kind,
    "host": _processor(),
    "clock": "CPU seconds of one core"
    if jax.default_backend() == "cpu"
    else "wall seconds",
    "jax": jax.__version__,
    "torch": _torch_version(),
    "command": command,
  }


def write_tables(
  path: pathlib.Path,
  tables: dict[str, dict[str, Any]],
  titles: dict[str, str],
) -> None:
  """Adds tables to PATH.json, and writes all tables of that file to PATH.md.

  Args:
    path: without suffix. Existing tables that are not in `tables` are kept.
    tables: {"context": ..., "rows": [...]} by name.
    titles: titles of all known tables, by name, in the order of the page.
  """
  file = path.with_suffix(".json")
  contents = json.loads(file.read_text("utf-8")) if file.exists() else {}
  contents |= tables
  path.parent.mkdir(parents=True, exist_ok=True)
  file.write_text(json.dumps(contents, indent=2) + "\n", "utf-8")
  parts = [f"# Benchmarks: {path.name}"]
  for name, title in titles.items():
    parts.append(f"## {title}")
    if name not in contents:
      parts.append("Not measured.")
      continue
    conditions = contents[name]["context"]
    parts.append(
      "`{command}`: {device} ({host}), {clock}, jax {jax}, "
      "torch {torch}.".format(**conditions)
    )
    parts.append(markdown(contents[name]["rows"]))
  path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", "utf-8")


def markdown(rows: list[dict[str, Any]]) -> str:
  """Formats rows as a table; a dash stands for a missing value or None."""
  keys = list(dict.fromkeys(key for row in rows for key in row))

  def cell(value):
    if value is None:
      return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)

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
