"""Parses JSON, and writes JSON files atomically."""

import json
from typing import Any

from get_jax.storage.paths import StrPath, write_text


def parse_json(text: str | bytes) -> Any:
  """Parses JSON.

  Raises:
    ValueError: the text is not JSON, or is nested more deeply than Python can
      parse.
  """
  try:
    return json.loads(text)
  except RecursionError:
    raise ValueError("it is nested too deeply") from None


def write_json(path: StrPath, content: Any) -> None:
  """Writes a JSON file atomically, on disk or in a bucket.

  A reader sees the old content or the new, never a part of it.

  Args:
    path: the file; its folder is created if necessary.
    content: anything that `json.dumps` accepts.
  """
  write_text(path, json.dumps(content, indent=2) + "\n")
