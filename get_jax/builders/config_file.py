"""Finds and loads config files."""

import contextlib
import difflib
import importlib.machinery
import importlib.util
import pathlib
import sys
import types
from collections.abc import Iterator

import ml_collections

from get_jax.builders.experiments import configs_folder, experiment_names
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
  with configs_package(file):
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
      raise UsageError(f"--config={file} has no function get_config()")
    return module.get_config(argument) if argument else module.get_config()


@contextlib.contextmanager
def configs_package(file: str) -> Iterator[None]:
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
