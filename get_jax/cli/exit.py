"""Exit codes of main.py, and how a run ends with them.

| code | last line | meaning |
| --- | --- | --- |
| 0 | Finished: | done |
| `FAULT` | Failed: | a bug, with its traceback, or a loss that is not finite |
| `BAD_INPUT` | Failed: | bad input or a failing disk, in one sentence |
| `STOPPED` | Stopped: | stopped by a signal, with everything saved |
| `LOST` | Failed: | another process failed, is stuck or has disappeared |
"""

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import jax

from get_jax.errors import UsageError, reason
from get_jax.progress import print_ending
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
  print_ending("Failed", message)
  sys.exit(BAD_INPUT)


class _Interrupted(KeyboardInterrupt):
  """A signal ends a mode at any point of it."""


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
  """Lets SIGTERM and SIGINT end a mode that has nothing to save, anywhere."""

  def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise _Interrupted(signal.Signals(number).name)

  previous = {
    number: signal.signal(number, interrupt) for number in preemption.SIGNALS
  }
  try:
    yield
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
  """Exits with the code of the exception that is raised inside.

  The last line on the screen says what it was. In a run of several processes,
  also makes the other processes exit.
  """
  try:
    yield
  except UsageError as error:
    _refuse_all(str(error))
  except FloatingPointError as error:
    print_ending("Failed", str(error))
    _abort_group(FAULT, f"another process failed: {error}")
    sys.exit(FAULT)
  except (preemption.Stopped, _Interrupted) as stop:
    group = processes.process_group()
    if group is None or group.index == 0:
      print_ending("Stopped", f"{stop}; run the same command again to resume")
    sys.exit(STOPPED)
  except Exception as error:
    if (fault := describe_disk_error(error)) is not None:
      _refuse_all(DISK_SENTENCE.format(fault))
    # It may be a consequence of another process's exit. In that case the
    # watchdog exits with the real reason during this time. Errors of Gloo,
    # which connects CPUs, also arrive as ValueError.
    if isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error):
      if processes.process_group() is not None:
        time.sleep(heartbeats.TIMEOUT + 3 * heartbeats.INTERVAL)
    traceback.print_exc()
    sentence = f"{type(error).__name__}: {reason(error)}"
    print_ending("Failed", sentence)
    _abort_group(FAULT, f"process {jax.process_index()} failed: {sentence}")
    sys.exit(FAULT)


def _refuse_all(sentence: str) -> NoReturn:
  try:
    refuse(sentence)
  finally:
    _abort_group(BAD_INPUT, sentence)


def _abort_group(code: int, reason: str) -> None:
  """Exits all processes of the run; without several of them, returns."""
  group = processes.process_group()
  if group is not None:
    group.abort(code, reason)
