"""Parses flags, loads the config and runs the selected mode."""

import gc
import re
import sys
from collections.abc import Callable

from absl import app
from absl import flags as absl_flags

from get_jax.builders.experiments import listing
from get_jax.cli import flags
from get_jax.cli.config_flags import (
  check_config_flags,
  names_config,
  parse_flags,
)
from get_jax.cli.weights_flag import add_config_flag, start_from_weights
from get_jax.errors import UsageError
from get_jax.modes import load_mode

DESCRIPTION = """\
Trains, samples and evaluates image generators built on transformers.

  get_jax --config=get_digits --workdir=runs/get_digits

In a checkout, `python main.py` is the same command.
"""
HELP_FLAGS = {"--help", "-help", "--helpfull", "--helpshort"}
LIST_FLAGS = {"--list", "-list"}


def main() -> None:
  """Parses the command line, runs the mode and exits the process.

  It is `main.py`, and the installed command `get_jax`. The exit codes are those
  of `get_jax.cli.exit`.
  """
  # Imports leave no garbage; the search for it is a sixth of their time.
  gc.disable()
  app.run(_run_mode, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  if HELP_FLAGS & set(argv):
    print(f"{DESCRIPTION}\n{flags.help_text()}")
    sys.exit(0)
  if LIST_FLAGS & set(argv):
    print(listing())
    sys.exit(0)
  try:
    argv = add_config_flag(argv)
    if names_config(argv):
      check_config_flags(argv)
    parse_flags(argv)
    flags.check_config_is_given()
  except (
    absl_flags.Error,
    UsageError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
  ) as error:
    from get_jax.cli.exit import refuse

    refuse(_without_python_words(" ".join(str(error).split())))
  return argv


def _without_python_words(message: str) -> str:
  """Returns a message about the value of a flag in the words of the others."""
  for words, kind in (
    ("invalid literal for int", "an integer"),
    ("could not convert string to float", "a number"),
  ):
    message = re.sub(f": {words}.*", f"; expected {kind}", message)
  return message


def _load(mode: str) -> Callable[..., None]:
  """Imports a mode, the last of the imports."""
  run = load_mode(mode)
  gc.freeze()
  gc.enable()
  return run


def _run_mode(argv: list[str]) -> None:
  del argv
  # These import JAX, which takes seconds and which --help does not need.
  from get_jax.cli.exit import exit_on_error, interrupted_by_signals
  from get_jax.cli.launch import check_platform, join_processes
  from get_jax.cli.messages import set_up_messages
  from get_jax.hardware.host_memory import keep_freed_memory
  from get_jax.storage import cache

  set_up_messages()
  if flags.KEEP_FREED_MEMORY.value:
    keep_freed_memory()
  with exit_on_error():
    mode = flags.MODE.value
    workdir, options = flags.workdir(), flags.mode_options()
    cache.configure(flags.CACHE_DIR.value, flags.CACHE_SIZE.value)
    options |= flags.weights_options()
    if flags.ACCEPT_LICENCE.value:
      from get_jax.weights import licences

      licences.accept()
    if mode in flags.MODES_WITHOUT_CONFIG:
      if mode == "demo":
        check_platform()
      given = {} if workdir is None else {"workdir": workdir}
      with interrupted_by_signals():
        _load(mode)(**given, **options)
      return
    from get_jax.builders.config_check import check_config

    if flags.WEIGHTS.value is not None:
      start_from_weights(flags.CONFIG.value, flags.WEIGHTS.value, mode, workdir)
    check_config(flags.CONFIG.value)
    joined = join_processes(
      mode,
      flags.COORDINATOR.value,
      flags.NUM_PROCESSES.value,
      flags.PROCESS_ID.value,
      flags.STUCK_AFTER.value,
      workdir,
    )
    with joined:
      check_platform()
      _load(mode)(flags.CONFIG.value.lock(), workdir, **options)
