"""Loads config files and checks the keys that the command line sets."""

import difflib
import importlib.util
import pathlib
import re
from collections.abc import Iterator, Sequence

import ml_collections

from get_jax.errors import UsageError


def load_config_file(path: str) -> ml_collections.ConfigDict:
  """Calls `get_config` of "file.py" or "file.py:argument".

  Raises:
    UsageError: the file does not exist, or has no `get_config`.
  """
  file, _, argument = path.partition(":")
  if not pathlib.Path(file).is_file():
    raise UsageError(f"--config={file} does not exist; {_suggest_file(file)}")
  spec = importlib.util.spec_from_file_location("experiment_config", file)
  if spec is None or spec.loader is None:
    raise UsageError(f"--config={file} is not Python; expected a file *.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise UsageError(f"--config={file} has no function get_config()")
  return module.get_config(argument) if argument else module.get_config()


def check_config_flags(argv: Sequence[str]) -> None:
  """Checks that --config exists and has the keys that are overridden.

  Only sections with a `name` accept new keys: what they name has more settings
  than the config, and checks them itself.

  Args:
    argv: the command line, program name first.

  Raises:
    UsageError: the config is missing or does not exist, or a key is unknown.
  """
  path = _config_path(argv)
  if path is None:
    raise UsageError("--config is missing; expected a file such as configs/")
  keys = sorted(_keys(load_config_file(path)))
  for argument in argv[1:]:
    match = re.match(r"--?config\.([\w.]+)(=|\[|$)", argument)
    if not match or match[1] in keys:
      continue
    section = match[1].rpartition(".")[0]
    if f"{section}.name" not in keys:
      similar = difflib.get_close_matches(match[1], keys, n=1)
      hint = f"did you mean {similar[0]}?" if similar else f"it has {keys}"
      raise UsageError(
        f"{argument} sets a key that {path} does not have; {hint}"
      )


def _config_path(argv: Sequence[str]) -> str | None:
  for i, argument in enumerate(argv):
    match = re.match(r"--?config(?:=(.*))?$", argument)
    if match:
      following = argv[i + 1] if i + 1 < len(argv) else None
      return match[1] if match[1] is not None else following
  return None


def _keys(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[str]:
  for key, value in config.items():
    yield prefix + key
    if isinstance(value, ml_collections.ConfigDict):
      yield from _keys(value, f"{prefix}{key}.")


def _suggest_file(file: str) -> str:
  folder = pathlib.Path(file).parent
  names = sorted(str(p) for p in folder.glob("*.py")) if folder.is_dir() else []
  similar = difflib.get_close_matches(file, names, n=1)
  if similar:
    return f"did you mean {similar[0]}?"
  return "expected a file such as those in configs/"
