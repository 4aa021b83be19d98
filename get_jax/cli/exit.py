"""Exit codes of main.py, and how a run ends with them.

| code | meaning |
| --- | --- |
| 0 | done |
| `FAULT` | a bug, with its traceback, or a loss that is not finite |
| `BAD_INPUT` | bad input or a failing disk, explained in one sentence |
| `STOPPED` | stopped by a signal, with everything saved |
| `LOST` | another process of the run failed, is stuck or has disappeared |
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax

from get_jax.errors import UsageError
from get_jax.storage.disk_errors import describe_disk_error
from get_jax.training import heartbeats, preemption, process_group, processes

FAULT = 1
BAD_INPUT = 2
STOPPED = preemption.EXIT_CODE
LOST = process_group.EXIT_CODE_LOST
DISK_SENTENCE = (
  "a file of the run cannot be read or written: {}; what is complete is kept, "
  "and the same command continues from there"
)


def refuse(message: str) -> NoReturn:
  """Prints a sentence about bad input and exits with `BAD_INPUT`."""
  print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
  sys.exit(BAD_INPUT)


@contextlib.contextmanager
def exit_on_error(refuse: Callable[[str], object] = refuse) -> Iterator[None]:
  """Exits with the code of the exception that is raised inside.

  In a run of several processes, also makes the other processes exit.

  Args:
    refuse: prints a sentence about bad input and exits.
  """
  try:
    yield
  except UsageError as error:
    _refuse_all(refuse, str(error))
  except FloatingPointError as error:
    print(f"Stopped: {error}", file=sys.stderr)
    _abort_group(FAULT, f"another process stopped: {error}")
    sys.exit(FAULT)
  except preemption.Stopped as stop:
    if jax.process_index() == 0:
      print(f"{stop}; run the same command again to resume", file=sys.stderr)
    sys.exit(STOPPED)
  except Exception as error:
    if (reason := describe_disk_error(error)) is not None:
      _refuse_all(refuse, DISK_SENTENCE.format(reason))
    if processes.process_group() is None:
      raise
    traceback.print_exc()
    if isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error):
      # It may be a consequence of another process's exit. In that case the
      # watchdog exits with the real reason during this time. Errors of Gloo,
      # which connects CPUs, also arrive as ValueError.
      time.sleep(heartbeats.TIMEOUT + 3 * heartbeats.INTERVAL)
    first_line = next(iter(str(error).splitlines()), "")
    _abort_group(
      FAULT,
      f"process {jax.process_index()} failed: {type(error).__name__}: "
      f"{first_line}",
    )


def _refuse_all(refuse: Callable[[str], object], sentence: str) -> None:
  try:
    refuse(sentence)
  finally:
    _abort_group(BAD_INPUT, sentence)


def _abort_group(code: int, reason: str) -> None:
  """Exits all processes of the run; without several of them, returns."""
  group = processes.process_group()
  if group is not None:
    group.abort(code, reason)
