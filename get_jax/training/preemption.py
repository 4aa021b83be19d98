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
_apart = False


class Stopped(Exception):
  """A run ended early on a signal, with its work saved: run again to go on.

  `main.py` ends with exit code 75 (the system's code for "try again").
  """


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[str], bool]]:
  """Yields a function (place) -> whether SIGTERM or SIGINT has come.

  Long loops ask it between steps, save, and raise `Stopped`; `place` says
  where they are, for the watch over several processes. A signal to one of
  those stops all, at the same call of the function; inside `apart` each at its
  next. Contexts may be nested: a signal that comes between two inner ones
  holds for the second. A second signal acts as it does elsewhere, at once.
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
def apart() -> Iterator[None]:
  """A part that each process does at its own pace; left when all are done.

  Raises:
    Stopped: a signal has stopped one of them.
  """
  global _apart
  if processes.group() is None:
    yield
    return
  _apart, stop = True, None
  try:
    yield
  except Stopped as stopped:
    stop = stopped
  finally:
    _apart = False
  for word in filter(None, processes.share(str(stop or ""))):
    raise stop or Stopped(word)


def until_stopped(items: Iterable, doing: str) -> Iterator:
  """The items, with a question between two of them whether to stop.

  Raises:
    Stopped: a signal came.
  """
  with stop_requests() as stop_asked:
    for count, item in enumerate(items):
      if stop_asked(f"{doing}, batch {count}"):
        raise Stopped(f"{doing} stopped after {count} batches")
      yield item


def _stop_asked(place: str) -> bool:
  group = processes.group()
  if group is None:
    return bool(_asked)
  return group.stop_apart(place) if _apart else group.stop_at(place)


def _on_signal(number, frame) -> None:
  del frame
  _asked.append(number)
  name = signal.Signals(number).name
  # Not print: the handler may have come in the middle of one.
  told = f"\n{name}: stopping where nothing is lost; once more: at once\n"
  os.write(2, told.encode())
  group = processes.group()
  if group is not None:
    group.want_stop()
  _restore()


def _restore() -> None:
  for each, handler in _previous.items():
    # None stands for a handler that is not Python's, such as JAX's.
    signal.signal(each, signal.SIG_DFL if handler is None else handler)
