"""Writes JSON files atomically."""

import json
import pathlib
from typing import Any


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a JSON file atomically, and creates its folder.

  A reader sees the old content or the new, never a part of it.

  Args:
    path: the file.
    content: anything that `json.dumps` accepts.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(path.name + ".tmp")
  temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
  temporary.replace(path)
