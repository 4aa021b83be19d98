"""Checks flags, configs and keys as main.py does; runs no mode.

The argument is a JSON list of command lines. Prints a JSON list of messages,
which are empty for the commands that main.py accepts.
"""

import contextlib
import io
import json
import os
import sys

from get_jax.builders.config_check import check_config
from get_jax.cli import flags, main
from get_jax.cli.exit import exit_on_error


def check(command):
  """Does what main.py does before it runs the mode."""
  # The flags of configs read it.
  sys.argv = ["main.py", *command]
  main._parse(sys.argv)
  with exit_on_error():
    flags.workdir()
    flags.mode_options()
    flags.weights_options()
    if flags.CONFIG.value is not None:
      check_config(flags.CONFIG.value)


def refusal(command):
  """Returns the message about a command.

  Flags can be parsed once in a process, so each command gets a fork.
  """
  reading, writing = os.pipe()
  if os.fork() == 0:
    output = io.StringIO()
    message = ""
    try:
      with contextlib.redirect_stderr(output):
        with contextlib.redirect_stdout(output):
          check(command)
    except SystemExit as end:
      message = output.getvalue() or "refused" if end.code else ""
    except BaseException as error:
      message = repr(error)
    os.write(writing, message.encode())
    os._exit(0)
  os.close(writing)
  with os.fdopen(reading) as pipe:
    message = pipe.read()
  os.wait()
  return message


if __name__ == "__main__":
  print(json.dumps([refusal(command) for command in json.loads(sys.argv[1])]))
