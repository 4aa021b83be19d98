"""Parses the flags that name a config and set its keys."""

import difflib
import re
from collections.abc import Iterator, Sequence

import ml_collections
from absl import flags as absl_flags

from get_jax.builders.config_file import (
  configs_package,
  find_config,
  load_config_file,
)
from get_jax.builders.config_keys import OPTIONAL_SECTIONS, SECTIONS
from get_jax.builders.tasks import TASKS
from get_jax.errors import UsageError


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
  with configs_package(file):
    _, *others = absl_flags.FLAGS(arguments)
  if others:
    raise UsageError(f"{others[0]} is not a flag; expected --NAME=VALUE")


def check_config_flags(argv: Sequence[str]) -> None:
  """Checks that --config has the keys that other flags set.

  Sections accept the further keys that they may have. Those of sections with a
  `name`, and of tasks, are checked by what they are settings of.

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
    section, _, key = match[1].rpartition(".")
    kind = section.rpartition(".")[2]
    is_open = f"{section}.name" in keys or (section in keys and kind in TASKS)
    known = section in keys and key in (SECTIONS | OPTIONAL_SECTIONS).get(
      kind, {}
    )
    if not is_open and not known:
      similar = difflib.get_close_matches(match[1], keys, n=1)
      hint = f"did you mean {similar[0]}?" if similar else f"it has {keys}"
      raise UsageError(
        f"{argument} sets a key that {config} does not have; {hint}"
      )


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
