"""Progress where stderr is a log file, and where it is a terminal."""

import io
import sys

import pytest

from get_jax import progress
from get_jax.progress import ProgressBar


class Stream(io.StringIO):
  def __init__(self, terminal):
    super().__init__()
    self.terminal = terminal

  def isatty(self):
    return self.terminal


@pytest.fixture
def stderr(monkeypatch):
  def replace(terminal):
    stream = Stream(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream

  return replace


def test_a_log_file_gets_one_line_of_short_work(stderr):
  stream = stderr(terminal=False)
  with ProgressBar(total=1000, desc="train", unit="step") as bar:
    for _ in range(1000):
      bar.update()
      bar.set_postfix(loss="0.5", refresh=False)
  (line,) = stream.getvalue().splitlines()
  assert line.startswith("train: 1000 of 1000 steps, ")
  assert line.endswith(" left, loss=0.5") and "\r" not in line


def test_a_log_file_gets_lines_at_intervals(stderr, monkeypatch):
  stream = stderr(terminal=False)
  monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
  with ProgressBar(total=3, desc="train", unit="step", miniters=1) as bar:
    for _ in range(3):
      bar.update()
  lines = stream.getvalue().splitlines()
  assert lines[0].startswith("train: 1 of 3 steps")
  assert lines[-1].startswith("train: 3 of 3 steps")


def test_a_terminal_gets_a_bar(stderr):
  stream = stderr(terminal=True)
  for _ in ProgressBar(range(3), desc="train", unit="step"):
    pass
  assert "\r" in stream.getvalue() and "100%" in stream.getvalue()


def test_a_disabled_bar_prints_nothing(stderr):
  for terminal in (True, False):
    stream = stderr(terminal)
    for _ in ProgressBar(range(3), disable=True):
      pass
    assert stream.getvalue() == ""
