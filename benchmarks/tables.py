"""Tables as JSON, and as Markdown made from it."""

import json
import pathlib

import jax


def context(command: str) -> dict:
  """What a figure cannot be read without."""
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


def write(path: pathlib.Path, made: dict[str, dict], titles: dict[str, str]):
  """Adds tables to PATH.json and writes all of them to PATH.md.

  Args:
    path: without suffix. Tables that the file has and `made` lacks stay.
    made: {"context": ..., "rows": [...]} by name.
    titles: of all tables there could be, by name, in their order.
  """
  file = path.with_suffix(".json")
  found = json.loads(file.read_text("utf-8")) if file.exists() else {}
  found |= made
  path.parent.mkdir(parents=True, exist_ok=True)
  file.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
  parts = [f"# Benchmarks: {path.name}"]
  for name, title in titles.items():
    parts.append(f"## {title}")
    if name not in found:
      parts.append("Not measured.")
      continue
    about = found[name]["context"]
    parts.append(
      f"`{about['command']}`: {about['device']} ({about['host']}), "
      f"{about['clock']}, jax {about['jax']}, torch {about['torch']}."
    )
    parts.append(markdown(found[name]["rows"]))
  path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", "utf-8")


def markdown(rows: list[dict]) -> str:
  """A table of rows; a key that a row lacks is a dash."""
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
