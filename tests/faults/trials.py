"""Trials: a program is disturbed, run again, and compared with the whole run.

The checker knows the truth: what an uninterrupted run makes. A trial passes if
the disturbed run ended as documented and the next run makes the same.
"""

import contextlib
import dataclasses
import gc
import hashlib
import logging
import os
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import NoReturn
from unittest import mock

from get_jax.cli import exit
from get_jax.cli.messages import set_up_messages
from get_jax.errors import shorten
from get_jax.training import checkpoint_folders
from tests.faults import replay, shim
from tests.faults.programs import Program

PARTS = (0.0, 0.5)  # of the data of a write, when a process is killed


@dataclasses.dataclass(frozen=True)
class Kill:
  """A kill after some calls.

  Attributes:
    calls: number of calls that were completed.
    part: part of the next one that was, if it is a write.
  """

  calls: int
  part: float = 0.0


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What a trial found.

  Attributes:
    fault: what is wrong, or "".
    messages: what the runs wrote to stderr.
  """

  fault: str
  messages: str


class Trials:
  """The trials of one program.

  Args:
    program: the program.
    folder: folder for workdirs.
  """

  def __init__(self, program: Program, folder: pathlib.Path):
    self.program = program
    self._folder = folder
    self._workdir = folder / "workdir"
    log = folder / "log"
    # The recorded run starts with compiled programs, as those of trials do.
    for _ in range(2):
      self._restart()
      with _messages(), shim.record(self._workdir, log) as calls:
        program.run(self._workdir)
    self.count = calls.count
    recorded = replay.content_of(self._workdir)
    # Another run counts what is read.
    self._restart()
    with _messages(), shim.fail(self._workdir, 0, 0, reads=True) as calls:
      program.run(self._workdir)
    self.read_count = calls.count
    self.truth = program.results(self._workdir)
    self._calls = replay.read_log(log)
    state = self.state(Kill(self.count))
    if replay.content_of(state) != recorded:
      raise AssertionError("the log does not explain the folder")
    gc.freeze()  # Collections of the trials skip what has been imported.

  def _restart(self) -> None:
    shutil.rmtree(self._workdir, ignore_errors=True)
    self.program.prepare(self._workdir)

  def kills(self) -> list[Kill]:
    """Returns all kills with different outcomes."""
    numbered = [call for call in self._calls if call.counts]
    changes = [i for i, call in enumerate(numbered) if call.kind != "s"]
    return [
      Kill(i, part)
      for i in changes
      for part in (PARTS if numbered[i].kind == "w" else PARTS[:1])
    ]

  def distinct_kills(self) -> list[Kill]:
    """Returns one kill for each state that the next run can tell from others.

    It removes unfinished and outdated checkpoints without reading them, so that
    states may differ in their files.
    """
    kills: dict[int, list[Kill]] = {}
    for kill in self.kills():
      kills.setdefault(kill.calls, []).append(kill)
    distinct: dict[bytes, Kill] = {}
    target = self._folder / "state"
    shutil.rmtree(target, ignore_errors=True)
    self.program.prepare(target)
    done = 0
    with replay.Replay(self._workdir, target) as repeated:
      for call in self._calls:
        for kill in kills.get(done, []) if call.counts else []:
          if kill.part:
            repeated.apply(call, kill.part)
          distinct.setdefault(_digest(target), kill)
        repeated.apply(call)
        done += call.counts
    return [*distinct.values()]

  def state(self, kill: Kill) -> pathlib.Path:
    """Makes the workdir that a kill leaves."""
    target = self._folder / "state"
    shutil.rmtree(target, ignore_errors=True)
    self.program.prepare(target)
    done = 0
    with replay.Replay(self._workdir, target) as repeated:
      for call in self._calls:
        if call.counts and done == kill.calls:
          if call.kind == "w" and kill.part:
            repeated.apply(call, kill.part)
          break
        repeated.apply(call)
        done += call.counts
    return target

  def kill(self, kill: Kill) -> Verdict:
    """Resumes a killed run."""
    state = _as_of_another_process(self.state(kill))
    shutil.rmtree(self._workdir, ignore_errors=True)
    state.rename(self._workdir)
    with _messages() as messages:
      fault = self._resume()
    return _verdict(fault, messages)

  def fail(
    self, first: int, error: int, last: int = shim.FOREVER, reads: bool = False
  ) -> Verdict:
    """Runs with failing calls, which end in a sentence, and then without."""
    self._restart()
    fault = ""
    with _messages() as messages:
      try:
        with (
          mock.patch.object(exit, "refuse", _refuse),
          exit.exit_on_error(),
          shim.fail(self._workdir, first, error, last, reads),
        ):
          self.program.run(self._workdir)
      except _Refused as sentence:
        print(f"exit code 2: {sentence}", file=sys.stderr)
        # What cannot be read may be taken for damaged.
        if not reads and os.strerror(error) not in str(sentence):
          fault = f"the sentence has not the reason: {sentence}"
      except SystemExit as ending:
        fault = f"it ends with code {ending.code}"
      gc.collect()  # locks of the failed run
      fault = fault or self._resume()
    return _verdict(fault, messages)

  def _resume(self) -> str:
    try:
      self.program.run(self._workdir)
      found = self.program.results(self._workdir)
    except Exception as raised:
      return f"resuming raises {type(raised).__name__}: {raised}"
    differing = [
      f"{key}: {shorten(found.get(key), 300)} instead of "
      f"{shorten(self.truth.get(key), 300)}"
      for key in sorted(found.keys() | self.truth.keys())
      if found.get(key) != self.truth.get(key)
    ]
    return f"results differ: {'; '.join(differing)}" if differing else ""


class _Refused(Exception):
  """The sentence with which a run ends."""


def _refuse(sentence: str) -> NoReturn:
  raise _Refused(sentence)


def _digest(workdir: pathlib.Path) -> bytes:
  """Returns a digest of a workdir, without files that are removed unread."""
  removed = f"checkpoints/({checkpoint_folders.OUTDATED}"
  removed += rf"|.*{re.escape(checkpoint_folders.TEMPORARY)}.*?)/.*"
  content = sorted(
    item
    for item in replay.content_of(workdir).items()
    if not re.fullmatch(removed, item[0])
  )
  return hashlib.sha256(repr(content).encode()).digest()


def _verdict(fault: str, messages: list[str]) -> Verdict:
  if not fault and "Traceback" in messages[0]:
    fault = "a traceback is on the screen"
  return Verdict(fault, messages[0])


def _as_of_another_process(workdir: pathlib.Path) -> pathlib.Path:
  """Renames temporary files, whose names have the number of a process."""
  for path in workdir.rglob(f"*.{os.getpid()}.tmp"):
    path.rename(re.sub(r"\d+\.tmp$", "1.tmp", str(path)))
  return workdir


@contextlib.contextmanager
def _messages() -> Iterator[list[str]]:
  """Yields a list that gets what was written to stdout and stderr."""
  sys.stdout.flush()
  sys.stderr.flush()
  kept, found = (os.dup(1), os.dup(2)), []
  with tempfile.TemporaryFile("w+", errors="replace") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    try:
      yield found
    finally:
      sys.stdout.flush()
      sys.stderr.flush()
      for number, copy in enumerate(kept, 1):
        os.dup2(copy, number)
        os.close(copy)
      file.seek(0)
      found.append(file.read())


def show_warnings() -> None:
  """Prints log messages as main.py does."""
  logging.basicConfig(level=logging.WARNING)
  set_up_messages()
