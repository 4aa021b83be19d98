"""Which messages of libraries main.py shows.

Orbax and TensorStore report an error in one of their threads with tracebacks,
and raise it as well. Only the latter is shown, as the sentence with which the
run ends.
"""

import logging
import sys


def set_up_messages() -> None:
  """Shows warnings, and what `get_jax` reports, without such tracebacks."""
  logging.getLogger().setLevel(logging.WARNING)
  logging.getLogger("get_jax").setLevel(logging.INFO)
  logging.getLogger("asyncio").setLevel(logging.CRITICAL)
  logging.getLogger("absl").addFilter(_has_no_traceback)
  sys.unraisablehook = _report_unraisable


def _has_no_traceback(record: logging.LogRecord) -> bool:
  return not record.exc_info


def _report_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
  """Reports an error that cannot be raised, but not that of a closed loop.

  TensorStore passes its results to the event loop of a save that has failed.
  """
  if str(unraisable.exc_value) != "Event loop is closed":
    sys.__unraisablehook__(unraisable)
