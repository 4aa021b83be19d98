"""Handles stop signals: loops save their work and stop between two steps."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TypeVar

from get_jax.training import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_CODE = 75

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object] | int

# What Python does at a signal that is not ignored.
_ENDING: dict[signal.Signals, Handler] = {
  signal.SIGTERM: signal.SIG_DFL,
  signal.SIGINT: signal.default_int_handler,
}

# Handlers from before `handle_stop_signals`; empty outside of it.
_previous: dict[signal.Signals, Handler | None] = {}
_received: list[int] = []
_independent = False


class Stopped(Exception):
  """A run was stopped by a signal after saving its work; it can be resumed.

  `main.py` exits with code 75 (EX_TEMPFAIL, "try again").
  """


@contextlib.contextmanager
def handle_stop_signals() -> Iterator[Callable[[str], bool]]:
  """Yields a function (location) -> whether SIGTERM or SIGINT was received.

  Long loops call it between steps, save, and raise `Stopped`. `location`
  describes the current position, for messages about stuck processes. A signal
  to one of several processes stops all of them, at the same call of the
  function; inside `independent_progress`, each at its next call. Contexts may
  be nested: a signal that arrives between two inner contexts is seen by the
  second. A second signal acts immediately, as it would without this context
  (or, if the program was started with the signal ignored, as by default).
  """
  if _previous:
    yield _stop_requested
    return
  for number in SIGNALS:
    _previous[number] = signal.signal(number, _on_signal)
  try:
    yield _stop_requested
  finally:
    _restore_handlers()
    _previous.clear()
    _received.clear()


@contextlib.contextmanager
def independent_progress() -> Iterator[None]:
  """Context in which every process proceeds at its own pace.

  The context exits when all processes have reached its end.

  Raises:
    Stopped: a signal stopped one of the processes.
  """
  global _independent
  if processes.process_group() is None:
    yield
    return
  _independent, own = True, None
  try:
    yield
  except Stopped as stopped:
    own = stopped
  finally:
    _independent = False
  for message in filter(None, processes.allgather(str(own or ""))):
    raise own or Stopped(message)


def interruptible(items: Iterable[T], description: str) -> Iterator[T]:
  """Yields the items and checks for a stop signal before each of them.

  Args:
    items: the items.
    description: what is done with them, such as "measuring", for messages.

  Raises:
    Stopped: SIGTERM or SIGINT was received.
  """
  with handle_stop_signals() as stop_requested:
    for count, item in enumerate(items):
      if stop_requested(f"{description}, batch {count}"):
        raise Stopped(f"{description} after {count} batches")
      yield item


def _stop_requested(location: str) -> bool:
  group = processes.process_group()
  if group is None:
    return bool(_received)
  return (
    group.should_stop_independently(location)
    if _independent
    else group.should_stop(location)
  )


def _on_signal(number: int, frame: FrameType | None) -> None:
  del frame
  _received.append(number)
  name = signal.Signals(number).name
  # The signal may have interrupted a print, which is not reentrant.
  message = (
    f"\n{name}: stopping as soon as the work is saved; a second signal stops "
    "immediately\n"
  )
  os.write(2, message.encode())
  group = processes.process_group()
  if group is not None:
    group.request_stop()
  for each, handler in _previous.items():
    # Shells start background jobs with an ignored SIGINT.
    ignored = handler is signal.SIG_IGN
    signal.signal(each, _ENDING[each] if ignored else _settable(handler))


def _restore_handlers() -> None:
  for number, handler in _previous.items():
    signal.signal(number, _settable(handler))


def _settable(handler: Handler | None) -> Handler:
  # None: the previous handler was not installed from Python, such as JAX's.
  return signal.SIG_DFL if handler is None else handler
