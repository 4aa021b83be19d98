"""Reads JSON, and writes JSON files atomically."""

import json
from typing import Any

from get_jax.errors import UsageError, reason
from get_jax.storage.paths import StrPath, as_path, write_text


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


def read_json_object(path: StrPath, expected: str) -> dict[str, Any]:
  """Reads a file with a JSON object.

  Args:
    path: the file.
    expected: what the object is, for messages: "a config".

  Raises:
    FileNotFoundError: the file does not exist.
    UsageError: it is not JSON, or no object.
  """
  try:
    content = parse_json(as_path(path).read_bytes())
  except ValueError as error:
    raise UsageError(f"{path} is not JSON ({reason(error)})") from error
  if not isinstance(content, dict):
    raise UsageError(f"{path} is no JSON object; expected {expected}")
  return content


def write_json(path: StrPath, content: Any) -> None:
  """Writes a JSON file atomically, on disk or in a bucket.

  A reader sees the old content or the new, never a part of it.

  Args:
    path: the file; its folder is created if necessary.
    content: anything that `json.dumps` accepts.
  """
  write_text(path, json.dumps(content, indent=2) + "\n")
