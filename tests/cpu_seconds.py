"""Pytest plugin that measures the processor time of tests.

Processor time is user plus system time of the process and of the children it
waited for. Unlike wall time it does not depend on what else the machine does.
A fixture counts for the first test that needs it.
"""

import os
import time

import pytest

from tests import fork_server

# A test that needs more fails. The largest, of process groups, need two thirds.
LIMIT = 180.0
_PROPERTY = "cpu_seconds"
_started = pytest.StashKey[float]()


def cpu_seconds() -> float:
  """Returns the processor time of this process and its finished children."""
  return sum(os.times()[:4]) + fork_server.finished_cpu_seconds


class CpuSeconds:
  """Sums up the processor time of a run, and lists its slowest tests."""

  def __init__(self):
    self._start = time.monotonic()
    self._workers = 0.0
    self._tests = {}

  @pytest.hookimpl(wrapper=True, tryfirst=True)
  def pytest_runtest_protocol(self, item):
    item.stash[_started] = cpu_seconds()
    return (yield)

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_makereport(self, item, call):
    report = yield
    if call.when == "teardown":
      seconds = cpu_seconds() - item.stash[_started]
      report.user_properties.append((_PROPERTY, round(seconds, 2)))
      if report.passed and seconds > LIMIT:
        report.outcome = "failed"
        report.longrepr = (
          f"{item.nodeid} took {seconds:.0f} CPU-seconds, the limit is"
          f" {LIMIT:.0f}."
        )
    return report

  def pytest_runtest_logreport(self, report):
    if report.when == "teardown":
      self._tests[report.nodeid] = dict(report.user_properties)[_PROPERTY]

  def pytest_sessionfinish(self, session):
    fork_server.stop()
    if hasattr(session.config, "workeroutput"):
      session.config.workeroutput[_PROPERTY] = cpu_seconds()

  @pytest.hookimpl(optionalhook=True)
  def pytest_testnodedown(self, node):
    self._workers += getattr(node, "workeroutput", {}).get(_PROPERTY, 0.0)

  def pytest_terminal_summary(self, terminalreporter):
    write = terminalreporter.write_line
    slowest = sorted(self._tests.items(), key=lambda test: -test[1])[:10]
    for name, seconds in slowest:
      if seconds >= 1:
        write(f"{seconds:6.1f} CPU-seconds  {name}")
    wall = time.monotonic() - self._start
    cpu = self._workers + cpu_seconds()
    write(f"{wall:.0f} seconds of wall time, {cpu:.0f} CPU-seconds")


def pytest_configure(config):
  config.pluginmanager.register(CpuSeconds(), "cpu_seconds")
