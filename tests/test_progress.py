"""Progress where stderr is a file, and where it is a terminal."""

import contextlib
import fcntl
import os
import struct
import sys
import termios
import types

from clu import platform

from get_jax.progress import LINE_INTERVAL, ProgressBar


@contextlib.contextmanager
def log_file(tmp_path):
  """Makes stderr a file; yields a function that reads its lines."""
  path = tmp_path / "log"
  with path.open("w") as file, contextlib.redirect_stderr(file):
    yield lambda: path.read_text("utf-8").splitlines()


@contextlib.contextmanager
def terminal():
  """Makes stderr a pseudo-terminal; yields a function that reads it."""
  main, stderr = os.openpty()
  fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))

  def output():
    print("END", end="", file=sys.stderr, flush=True)
    text = ""
    while not text.endswith("END"):
      text += os.read(main, 4096).decode()
    return text.removesuffix("END")

  with open(stderr, "w") as file, contextlib.redirect_stderr(file):
    yield output
  os.close(main)


def test_a_file_gets_one_line_of_short_work(tmp_path):
  with log_file(tmp_path) as lines:
    with ProgressBar(total=1000, desc="train", unit="step") as bar:
      for _ in range(1000):
        bar.update()
        bar.set_postfix(loss="0.5", refresh=False)
    (line,) = lines()
  assert line.startswith("train: 1000 of 1000 steps, ")
  assert line.endswith(" left, loss=0.5")


def test_a_file_gets_a_line_every_30_seconds(tmp_path):
  assert LINE_INTERVAL == 30
  with log_file(tmp_path) as lines:
    bar = ProgressBar(total=400, initial=100, desc="train", unit="step")
    now = bar.start_t
    bar._time = lambda: now
    # Two steps a second, then one step in ten seconds.
    for seconds in [0.5] * 240 + [10] * 10:
      now += seconds
      bar.update()
      bar.set_postfix(loss="0.25", refresh=False)
    assert lines()[:4] == [
      "train: 160 of 400 steps,  2.00step/s, 02:00 left, loss=0.25",
      "train: 220 of 400 steps,  2.00step/s, 01:30 left, loss=0.25",
      "train: 280 of 400 steps,  2.00step/s, 01:00 left, loss=0.25",
      "train: 340 of 400 steps,  2.00step/s, 00:30 left, loss=0.25",
    ]
    assert [line.split()[1] for line in lines()[4:]] == ["343", "346", "349"]
    bar.close()
    assert [line.split()[1] for line in lines()[7:]] == ["350"]


def test_a_file_gets_no_line_twice(tmp_path):
  with log_file(tmp_path) as lines:
    with ProgressBar(total=2, desc="train", unit="step") as bar:
      now = bar.start_t
      bar._time = lambda: now
      for _ in range(2):
        now += LINE_INTERVAL
        bar.update()
    assert [line.split()[1] for line in lines()] == ["1", "2"]


def test_lines_are_notes_of_the_work_unit(tmp_path, monkeypatch):
  notes = []
  unit = types.SimpleNamespace(set_notes=notes.append)
  monkeypatch.setattr(platform, "work_unit", lambda: unit)
  with log_file(tmp_path) as lines:
    list(ProgressBar(range(3), desc="sampling", unit="image"))
    assert notes == lines()
    assert len(notes) == 1


def test_a_terminal_gets_a_bar():
  with terminal() as output:
    with ProgressBar(total=3, desc="train", unit="step", mininterval=0) as bar:
      for _ in range(3):
        bar.set_postfix(loss="0.5", refresh=False)
        bar.update()
    states = output().split("\r")
  assert len(states) >= 4
  for part in ("train: 100%|", "| 3/3 [", "step/s, loss=0.5]"):
    assert part in states[-2], states


def test_a_disabled_bar_prints_nothing(tmp_path):
  with log_file(tmp_path) as lines:
    list(ProgressBar(range(3), disable=True))
    assert lines() == []
  with terminal() as output:
    list(ProgressBar(range(3), disable=True))
    assert output() == ""
