"""Parses flags, loads the config and runs the selected mode."""

import logging
import sys

from absl import app
from absl import flags as absl_flags

from get_jax.cli import flags
from get_jax.cli.config_file import check_config_flags
from get_jax.errors import UsageError
from get_jax.modes import load_mode

HELP_FLAGS = {"--help", "-help", "--helpfull", "--helpshort"}


def run(doc: str) -> None:
  """Parses the command line, runs the mode and exits the process.

  The exit codes are those of `get_jax.cli.exit`.

  Args:
    doc: text above the flags in the output of `--help`.
  """

  def parse(argv: list[str]) -> list[str]:
    if HELP_FLAGS & set(argv):
      print(f"{doc}\n{flags.help_text()}")
      sys.exit(0)
    return _parse(argv)

  app.run(_run_mode, flags_parser=parse)


def _parse(argv: list[str]) -> list[str]:
  try:
    check_config_flags(argv)
    absl_flags.FLAGS(argv)
  except (
    absl_flags.Error,
    UsageError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
  ) as error:
    from get_jax.cli.exit import refuse

    refuse(" ".join(str(error).split()))
  return argv


def _run_mode(argv: list[str]) -> None:
  del argv
  # These import JAX, which takes seconds and which --help does not need.
  from get_jax.builders.config_check import check_config
  from get_jax.cli.exit import exit_on_error
  from get_jax.cli.launch import check_platform, join_processes

  logging.getLogger().setLevel(logging.WARNING)
  logging.getLogger("get_jax").setLevel(logging.INFO)
  with exit_on_error():
    check_config(flags.CONFIG.value)
    mode = flags.MODE.value
    workdir, options = flags.workdir(), flags.mode_options()
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
      load_mode(mode)(flags.CONFIG.value.lock(), workdir, **options)
