"""Finds and loads config files, and parses the flags that set their keys."""

import contextlib
import difflib
import importlib.machinery
import importlib.util
import pathlib
import re
import sys
import types
from collections.abc import Iterator, Sequence

import ml_collections
from absl import flags as absl_flags

from get_jax.cli.experiments import configs_folder, experiment_names
from get_jax.errors import UsageError


def find_config(config: str) -> str:
  """Returns the path of a config.

  Args:
    config: name of a shipped experiment, such as "dit_xl2", or the path of a
      file, such as "configs/dit_xl2.py". Either may end with ":argument".

  Returns:
    The path of the file, and the argument, if any.

  Raises:
    UsageError: there is no such experiment or file.
  """
  name, colon, argument = config.partition(":")
  if "/" in name or name.endswith(".py"):
    if not pathlib.Path(name).is_file():
      raise UsageError(f"--config={name} does not exist; {_suggest_file(name)}")
    return config
  if name not in experiment_names():
    raise UsageError(
      f"--config={config} is not an experiment; {_suggest_name(name)}"
    )
  return f"{configs_folder() / name}.py{colon}{argument}"


def load_config_file(config: str) -> ml_collections.ConfigDict:
  """Calls `get_config` of the file of a config.

  In the file, `configs` is the package of shipped configs, and of the modules
  beside the file if that is itself below a folder `configs`.

  Args:
    config: see `find_config`.

  Raises:
    UsageError: the file does not exist, or has no `get_config`.
  """
  file, _, argument = find_config(config).partition(":")
  spec = importlib.util.spec_from_file_location("experiment_config", file)
  if spec is None or spec.loader is None:
    raise UsageError(f"--config={file} is not Python; expected a file *.py")
  module = importlib.util.module_from_spec(spec)
  with _configs_package(file):
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
      raise UsageError(f"--config={file} has no function get_config()")
    return module.get_config(argument) if argument else module.get_config()


def names_config(argv: Sequence[str]) -> bool:
  """Returns whether a command line has --config, or sets one of its keys."""
  return any(re.match(r"--?config(=|\.|$)", argument) for argument in argv[1:])


def parse_flags(argv: Sequence[str]) -> None:
  """Parses the command line; --config is an experiment or a file.

  Args:
    argv: the command line, program name first.

  Raises:
    UsageError: there is no such experiment or file, or an argument is not a
      flag.
  """
  arguments, file = list(argv), ""
  if names_config(argv):
    index, config = _config_flag(argv)
    file = find_config(config)
    # The value is part of the argument, or follows as the next one.
    arguments[index] = file if argv[index] == config else f"--config={file}"
  with _configs_package(file):
    _, *others = absl_flags.FLAGS(arguments)
  if others:
    raise UsageError(f"{others[0]} is not a flag; expected --NAME=VALUE")


def check_config_flags(argv: Sequence[str]) -> None:
  """Checks that --config has the keys that other flags set.

  Only sections with a `name` accept new keys: what they name has more settings
  than the config, and checks them itself.

  Args:
    argv: the command line, program name first.

  Raises:
    UsageError: the config is missing or does not exist, or a key is unknown.
  """
  _, config = _config_flag(argv)
  keys = sorted(_keys(load_config_file(config)))
  for argument in argv[1:]:
    match = re.match(r"--?config\.([\w.]+)(=|\[|$)", argument)
    if not match or match[1] in keys:
      continue
    section = match[1].rpartition(".")[0]
    if f"{section}.name" not in keys:
      similar = difflib.get_close_matches(match[1], keys, n=1)
      hint = f"did you mean {similar[0]}?" if similar else f"it has {keys}"
      raise UsageError(
        f"{argument} sets a key that {config} does not have; {hint}"
      )


@contextlib.contextmanager
def _configs_package(file: str) -> Iterator[None]:
  """Makes `configs` the shipped package, whatever else has this name.

  A module `configs` of the user, in the current folder or installed, does not
  hide the shipped one.

  Args:
    file: a config. If a folder above it is called `configs`, the modules of the
      nearest such folder are found before the shipped ones.
  """
  above = pathlib.Path(file).resolve().parents
  own = [folder for folder in above if folder.name == "configs"][:1]
  folders = dict.fromkeys([*own, configs_folder().resolve()])
  spec = importlib.machinery.ModuleSpec("configs", None, is_package=True)
  spec.submodule_search_locations = [str(folder) for folder in folders]
  before = _take_configs_modules()
  sys.modules["configs"] = importlib.util.module_from_spec(spec)
  try:
    yield
  finally:
    _take_configs_modules()
    sys.modules.update(before)


def _take_configs_modules() -> dict[str, types.ModuleType]:
  """Removes the package `configs` from the imported modules; returns it."""
  names = [n for n in sys.modules if n.partition(".")[0] == "configs"]
  return {name: sys.modules.pop(name) for name in names}


def _config_flag(argv: Sequence[str]) -> tuple[int, str]:
  """Returns the index of the argument with --config's value, and the value."""
  for i, argument in enumerate(argv):
    match = re.match(r"--?config(?:=(.*))?$", argument)
    if match and match[1]:
      return i, match[1]
    if match and match[1] is None and i + 1 < len(argv):
      return i + 1, argv[i + 1]
  raise UsageError(
    "--config is missing; expected an experiment, such as dit_digits, or a "
    "file; --list prints the experiments"
  )


def _keys(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[str]:
  for key, value in config.items():
    yield prefix + key
    if isinstance(value, ml_collections.ConfigDict):
      yield from _keys(value, f"{prefix}{key}.")


def _suggest_file(file: str) -> str:
  path = pathlib.Path(file)
  folder = path.parent
  names = sorted(str(p) for p in folder.glob("*.py")) if folder.is_dir() else []
  similar = difflib.get_close_matches(file, names, n=1)
  if similar:
    return f"did you mean {similar[0]}?"
  return _suggest_name(path.stem)


def _suggest_name(name: str) -> str:
  names = experiment_names()
  near = difflib.get_close_matches(name, names, n=3)
  similar = [name] if name in names else near
  if similar:
    return f"did you mean --config={' or '.join(similar)}?"
  return "expected an experiment that --list prints, or a file *.py"
