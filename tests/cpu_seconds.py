"""Pytest plugin that measures the processor time of tests.

Processor time is user plus system time of the process and of the children it
waited for. Unlike wall time it does not depend on what else the machine does.
A fixture that several tests share counts by itself, so that the figures do not
depend on the order of the tests.
"""

import os
import time

import pytest

from tests import fork_server

# A test or a shared fixture that needs more fails.
LIMIT = 80.0
_PROPERTY = "cpu_seconds"


def cpu_seconds() -> float:
  """Returns the processor time of this process and its finished children."""
  return sum(os.times()[:4]) + fork_server.finished_cpu_seconds


class CpuSeconds:
  """Sums up the processor time of a run, and lists its slowest tests."""

  def __init__(self):
    self._start = time.monotonic()
    self._workers = 0.0
    self._seconds = {}
    # Of the current test: start, time of shared fixtures, each of them.
    self._test_start, self._shared, self._fixtures = 0.0, 0.0, {}

  @pytest.hookimpl(wrapper=True, tryfirst=True)
  def pytest_runtest_protocol(self):
    self._test_start, self._shared, self._fixtures = cpu_seconds(), 0.0, {}
    return (yield)

  @pytest.hookimpl(wrapper=True)
  def pytest_fixture_setup(self, fixturedef):
    if fixturedef.scope == "function":
      return (yield)
    start, before, self._shared = cpu_seconds(), self._shared, 0.0
    try:
      return (yield)
    finally:
      seconds = cpu_seconds() - start
      name = f"{fixturedef.baseid}::{fixturedef.argname} (fixture)"
      self._fixtures[name] = round(seconds - self._shared, 2)
      self._shared = before + seconds

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_makereport(self, item, call):
    report = yield
    if call.when == "teardown":
      own = cpu_seconds() - self._test_start - self._shared
      seconds = {**self._fixtures, item.nodeid: round(own, 2)}
      report.user_properties.append((_PROPERTY, seconds))
      slow = {name: each for name, each in seconds.items() if each > LIMIT}
      if report.passed and slow:
        report.outcome = "failed"
        report.longrepr = f"over the limit of {LIMIT} CPU-seconds: {slow}"
    return report

  def pytest_runtest_logreport(self, report):
    if report.when == "teardown":
      self._seconds |= dict(report.user_properties)[_PROPERTY]

  def pytest_sessionfinish(self, session):
    fork_server.stop()
    if hasattr(session.config, "workeroutput"):
      session.config.workeroutput[_PROPERTY] = cpu_seconds()

  @pytest.hookimpl(optionalhook=True)
  def pytest_testnodedown(self, node):
    self._workers += getattr(node, "workeroutput", {}).get(_PROPERTY, 0.0)

  def pytest_terminal_summary(self, terminalreporter):
    write = terminalreporter.write_line
    slowest = sorted(self._seconds.items(), key=lambda item: -item[1])[:10]
    for name, seconds in slowest:
      if seconds >= 1:
        write(f"{seconds:6.1f} CPU-seconds  {name}")
    wall = time.monotonic() - self._start
    # Workers count their own time, and are children of this process.
    cpu = (
      self._workers + sum(os.times()[:2]) if self._workers else cpu_seconds()
    )
    write(f"{wall:.0f} seconds of wall time, {cpu:.0f} CPU-seconds")


def pytest_configure(config):
  config.pluginmanager.register(CpuSeconds(), "cpu_seconds")
