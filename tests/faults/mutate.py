"""Reads damaged files, and checks that a reader keeps its promises.

  python -m tests.faults.mutate --trials=10000 --fault_seed=0 [--reader=NAME]
  python -m tests.faults.mutate --reader=NAME --fault_seed=0 --trial=1234

A trial follows from the name of the reader, the seed and its number. A reader
may read a damaged file, because damage may go unnoticed or do no harm, or raise
a `UsageError` of one line. It must not

- execute anything: start a program, connect, import by a pickle, run code,
- raise another exception,
- need more than `MEMORY` bytes more than before,
- take more than `SECONDS` seconds of processor time.
"""

import argparse
import collections
import contextlib
import dataclasses
import faulthandler
import io
import logging
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator

from get_jax.errors import UsageError
from tests.faults.mutations import mutate
from tests.faults.readers import READERS

MEMORY = 2**30
SECONDS = 10.0
_FORBIDDEN = {
  "os.system",
  "os.exec",
  "os.fork",
  "os.posix_spawn",
  "os.spawn",
  "subprocess.Popen",
  "pickle.find_class",
  "socket.connect",
  "ctypes.dlopen",
}


class _Hang(BaseException):
  """The time of a trial is over."""


class _Executed(BaseException):
  """A file made its reader do what it never may."""


class _Trap:
  """Audit hook; it cannot be removed, so that it is armed when needed."""

  def __init__(self):
    self.armed = 0  # identifier of the thread that reads
    self._added = False

  def __call__(self, event, arguments):
    if not self.armed:
      return
    # Writers of TensorBoard's events pickle in threads of their own.
    if event == "pickle.find_class" and threading.get_ident() != self.armed:
      return
    if event in _FORBIDDEN or _is_foreign(event, arguments):
      self.armed = 0  # for what the report does
      raise _Executed(f"{event}{arguments}"[:300])

  @contextlib.contextmanager
  def arm(self) -> Iterator[None]:
    if not self._added:
      sys.addaudithook(self)
      self._added = True
    self.armed = threading.get_ident()
    try:
      yield
    finally:
      self.armed = 0


def _is_foreign(event: str, arguments: tuple) -> bool:
  """Returns whether code is executed that is in no module on the disk."""
  if event != "exec":
    return False
  name = arguments[0].co_filename
  return not name.startswith("<") and not os.path.exists(name)


_TRAP = _Trap()


@dataclasses.dataclass(frozen=True)
class Finding:
  """A promise that a reader did not keep."""

  reader: str
  seed: int
  trial: int
  kind: str
  text: str


class Trials:
  """Good files of a reader, which are damaged one at a time.

  Args:
    name: a key of `READERS`.
    seed: of the damage.
    folder: an empty folder.
  """

  def __init__(self, name: str, seed: int, folder: pathlib.Path):
    self._name, self._seed, self._folder = name, seed, folder
    self._reader = READERS[name]
    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()):
      self._reader.write(folder)
    self._good = _contents(folder)
    # Lazy imports, and caches, are no part of a trial. Good files are read.
    self._reader.read(folder)
    self._restore()

  def damaged(self, trial: int) -> tuple[pathlib.Path, bytes]:
    """Returns the file that a trial damages, and its new content."""
    rng = random.Random(f"{self._name} {self._seed} {trial}")
    path = rng.choice(sorted(self._good))
    content = mutate(self._good[path], rng)
    return path, content

  def run(self, trial: int) -> Finding | None:
    """Runs a trial; returns None if all promises were kept."""
    path, content = self.damaged(trial)
    path.write_bytes(content)
    try:
      kind, text = self._outcome()
    finally:
      self._restore()
    if not kind:
      return None
    return Finding(self._name, self._seed, trial, kind, f"{path.name}: {text}")

  def _outcome(self) -> tuple[str, str]:
    try:
      with _TRAP.arm(), _limits():
        self._reader.read(self._folder)
    except UsageError as error:
      if memory := _memory_error(error):
        return "memory", memory
      text = str(error)
      if "\n" in text or len(text) > 4000:
        return "sentence", repr(text[:300])
      return "", ""
    except (_Executed, _Hang) as error:
      return type(error).__name__.strip("_").lower(), _trace(error)
    except MemoryError as error:
      return "memory", _trace(error)
    except Exception as error:
      return "crash", _trace(error)
    return "", ""

  def _restore(self) -> None:
    now = _contents(self._folder)
    for path in now.keys() - self._good.keys():
      path.unlink()
    for path, content in self._good.items():
      if now.get(path) != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
  return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _memory_error(error: BaseException | None) -> str:
  """Returns where a MemoryError was that led to another error, or ""."""
  while error is not None:
    if isinstance(error, MemoryError):
      return _trace(error)
    error = error.__cause__ or error.__context__
  return ""


def _trace(error: BaseException) -> str:
  frames = traceback.extract_tb(error.__traceback__)[-6:]
  where = " < ".join(
    f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in reversed(frames)
  )
  return f"{type(error).__name__}: {str(error)[:200]!r} at {where}"


def _on_alarm(*_):
  raise _Hang(f"more than {SECONDS} s")


@contextlib.contextmanager
def _limits() -> Iterator[None]:
  """Limits memory and time, and silences output, in the context."""
  with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
  old = resource.getrlimit(resource.RLIMIT_AS)
  handler = signal.signal(signal.SIGPROF, _on_alarm)
  faulthandler.dump_traceback_later(20 * SECONDS, exit=True)
  sink = io.StringIO()
  try:
    with (
      contextlib.redirect_stderr(sink),
      contextlib.redirect_stdout(sink),
      warnings.catch_warnings(),
    ):
      warnings.simplefilter("ignore")
      resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, old[1]))
      signal.setitimer(signal.ITIMER_PROF, SECONDS)
      yield
  finally:
    signal.setitimer(signal.ITIMER_PROF, 0)
    resource.setrlimit(resource.RLIMIT_AS, old)
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGPROF, handler)


def main() -> None:
  """Runs trials and prints a table of readers, trials and findings."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--trials", type=int, default=10_000)
  parser.add_argument("--fault_seed", type=int, default=0)
  parser.add_argument("--reader", choices=sorted(READERS))
  parser.add_argument("--trial", type=int, help="run this trial alone")
  flags = parser.parse_args()
  logging.disable(logging.WARNING)
  faulthandler.enable()
  trials = range(flags.trials) if flags.trial is None else [flags.trial]
  count = 0
  for name in [flags.reader] if flags.reader else READERS:
    if not READERS[name].is_installed:
      print(f"{name:24} needs {READERS[name].needs}", flush=True)
      continue
    folder = pathlib.Path(tempfile.mkdtemp(prefix="get_jax_faults_"))
    start, findings = time.process_time(), collections.Counter()
    try:
      runner = Trials(name, flags.fault_seed, folder / "files")
      for trial in trials:
        finding = runner.run(trial)
        if finding is not None:
          key = f"{finding.kind} {finding.text.partition(': ')[2]}"
          findings[key.rpartition(" at ")[2] or key] += 1
          if findings[key.rpartition(" at ")[2] or key] <= 2:
            print(
              f"  {name} --trial={trial} {finding.kind} {finding.text}",
              flush=True,
            )
    finally:
      shutil.rmtree(folder)
    count += sum(findings.values())
    seconds = time.process_time() - start
    print(
      f"{name:24} {len(trials):7,} trials {sum(findings.values()):5} findings "
      f"{seconds:6.0f} CPU-seconds",
      flush=True,
    )
  sys.exit(1 if count else 0)


if __name__ == "__main__":
  main()
