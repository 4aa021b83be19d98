"""Restarts a program of the fault tests with all that it needs."""

import os

from tests.faults import shim
from tests.helpers import environment


def start() -> None:
  """Restarts the running program once: with one device, and the library."""
  shim.restart_preloaded({**os.environ, **environment()})
