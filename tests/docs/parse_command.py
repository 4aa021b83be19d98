"""Checks the flags, the config and its keys as main.py does; runs no mode."""

from absl import app

from get_jax.builders.config_check import check_config
from get_jax.cli import flags, main
from get_jax.cli.exit import exit_on_error


def check(argv):
  """Does what main.py does before it runs the mode."""
  del argv
  with exit_on_error():
    flags.workdir()
    flags.mode_options()
    flags.weights_options()
    if flags.CONFIG.value is not None:
      check_config(flags.CONFIG.value)


if __name__ == "__main__":
  app.run(check, flags_parser=main._parse)
