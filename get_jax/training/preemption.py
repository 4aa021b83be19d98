"""Stopping at the next good moment instead of at once."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator

from get_jax.training import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_CODE = 75

_previous: dict[int, object] = {}  # handlers of before; empty outside
_asked: list[int] = []
_independent = False


class Stopped(Exception):
  """A run ended early on a signal, with its work saved: run again to go on.

  `main.py` ends with exit code 75 (the system's code for "try again").
  """


@contextlib.contextmanager
def handle_stop_signals() -> Iterator[Callable[[str], bool]]:
  """Yields a function (location) -> whether SIGTERM or SIGINT has come.

  Long loops call it between steps, save, and raise `Stopped`. `location`
  describes the current position, for messages about stuck processes. A signal
  to one of several processes stops all of them, at the same call of the
  function; inside `independent_progress`, each at its next call. Contexts may
  be nested: a signal that arrives between two inner contexts is seen by the
  second. A second signal acts immediately, as it would without this context.
  """
  if _previous:
    yield _stop_asked
    return
  for each in SIGNALS:
    _previous[each] = signal.signal(each, _on_signal)
  try:
    yield _stop_asked
  finally:
    _restore()
    _previous.clear()
    _asked.clear()


@contextlib.contextmanager
def independent_progress() -> Iterator[None]:
  """A part that each process does at its own pace; left when all are done.

  Raises:
    Stopped: a signal has stopped one of them.
  """
  global _independent
  if processes.process_group() is None:
    yield
    return
  _independent, stop = True, None
  try:
    yield
  except Stopped as stopped:
    stop = stopped
  finally:
    _independent = False
  for word in filter(None, processes.allgather(str(stop or ""))):
    raise stop or Stopped(word)


def interruptible(items: Iterable, doing: str) -> Iterator:
  """The items, with a question between two of them whether to stop.

  Raises:
    Stopped: a signal came.
  """
  with handle_stop_signals() as stop_requested:
    for count, item in enumerate(items):
      if stop_requested(f"{doing}, batch {count}"):
        raise Stopped(f"{doing} stopped after {count} batches")
      yield item


def _stop_asked(location: str) -> bool:
  group = processes.process_group()
  if group is None:
    return bool(_asked)
  return (
    group.should_stop_independently(location)
    if _independent
    else group.should_stop(location)
  )


def _on_signal(number, frame) -> None:
  del frame
  _asked.append(number)
  name = signal.Signals(number).name
  # Not print: the handler may have come in the middle of one.
  message = f"\n{name}: stopping where nothing is lost; once more: at once\n"
  os.write(2, message.encode())
  group = processes.process_group()
  if group is not None:
    group.request_stop()
  _restore()


def _restore() -> None:
  for each, handler in _previous.items():
    # None stands for a handler that is not Python's, such as JAX's.
    signal.signal(each, signal.SIG_DFL if handler is None else handler)
