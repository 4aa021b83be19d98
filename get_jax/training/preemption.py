"""Stopping at the next good moment instead of at once."""

import contextlib
import signal
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_CODE = 75


class Stopped(Exception):
  """A run ended early on a signal, with its work saved: run again to go on.

  `main.py` ends with exit code 75 (the system's code for "try again").
  """


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
  """Yields a function that says whether SIGTERM or SIGINT has come.

  Long loops ask it between steps, save, and raise `Stopped`. A second signal
  acts as it does elsewhere, at once.
  """
  asked = []
  previous = {}

  def on_signal(number, frame):
    del frame
    asked.append(number)
    for each, handler in previous.items():
      signal.signal(each, handler)

  for each in SIGNALS:
    previous[each] = signal.signal(each, on_signal)
  try:
    yield lambda: bool(asked)
  finally:
    for each, handler in previous.items():
      signal.signal(each, handler)
