"""Disturbs random programs in random ways, until the time is over.

  python -m tests.faults.soak --minutes=60

Trial n depends on --fault_seed and n alone, apart from the order in which
threads write: `--first=1234 --trials=1` repeats it. Each prints one line, and
the last line is a summary. The exit code is 1 if a trial has failed.

A kill leaves a state of the workdir between two calls, or within a write (see
`tests.faults.kills`). A fault lets calls fail: the run must end with a sentence
and exit code 2, or finish where it does not need the call. After both, the next
run must make what an undisturbed run makes. No run may connect or unpickle (see
`tests.faults.isolated`).
"""

import argparse
import collections
import dataclasses
import errno
import itertools
import os
import pathlib
import random
import sys
import tempfile
import time

from tests.faults import isolated, shim
from tests.faults.start import start


@dataclasses.dataclass(frozen=True)
class Fault:
  """Calls that fail.

  Attributes:
    error: number of the error.
    lasting: whether all later calls fail too.
    reads: whether calls that read are meant.
  """

  error: int
  lasting: bool
  reads: bool = False

  def __str__(self) -> str:
    calls = "read" if self.reads else "write"
    last = " and all later ones" if self.lasting else ""
    return f"{errno.errorcode[self.error]} in a {calls}{last}"


FAULTS = (
  Fault(errno.ENOSPC, lasting=True),
  Fault(errno.ENOSPC, lasting=False),
  Fault(errno.EIO, lasting=False),
  Fault(errno.EIO, lasting=True, reads=True),
  Fault(errno.EROFS, lasting=True),
)


def main(argv: list[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--minutes", type=float, default=float("inf"))
  parser.add_argument("--trials", type=int, help="default: no limit")
  parser.add_argument("--first", type=int, default=0, help="number of a trial")
  parser.add_argument("--fault_seed", type=int, default=0)
  flags = parser.parse_args(argv)
  isolated.trap(isolated.end)
  from tests.faults import programs
  from tests.faults.trials import Trials, show_warnings

  show_warnings()
  end = time.monotonic() + 60 * flags.minutes
  known: dict[str, Trials] = {}
  counts: collections.Counter[str] = collections.Counter()
  with tempfile.TemporaryDirectory() as folder, programs.compiled_once():
    for number in itertools.count(flags.first):
      if time.monotonic() > end or number - flags.first == flags.trials:
        break
      name = programs.NAMES[number % len(programs.NAMES)]
      if name not in known:
        path = pathlib.Path(folder, name)
        known[name] = Trials(programs.create(name, path), path)
      trials = known[name]
      rng = random.Random(f"{flags.fault_seed} {number}")
      if rng.random() < 0.5:
        disturbance = "kill"
        kill = rng.choice(trials.kills())
        text = f"killed after call {kill.calls}, part {kill.part} of the next"
        verdict = trials.kill(kill)
      else:
        disturbance = "fault"
        fault = rng.choice(FAULTS)
        count = trials.read_count if fault.reads else trials.count
        first = rng.randint(1, count)
        text = f"{fault}, call {first}"
        last = shim.FOREVER if fault.lasting else first
        verdict = trials.fail(first, fault.error, last, fault.reads)
      counts[disturbance] += 1
      print(f"{number} {name}: {text}: {verdict.fault or 'ok'}", flush=True)
      if verdict.fault:
        counts["wrong"] += 1
        print(verdict.messages[-2000:], flush=True)
  print(
    f"{counts['kill']} kills and {counts['fault']} faults, seed "
    f"{flags.fault_seed}: {counts['wrong']} wrong"
  )
  return int(counts["wrong"] > 0)


if __name__ == "__main__":
  start()
  code = main()
  sys.stdout.flush()
  # Threads of saves that have failed may wait for ever.
  os._exit(code)
