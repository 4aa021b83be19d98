"""Lets calls of small programs fail: a full or failing disk, and the next run.

  python -m tests.faults.faults --program=train --trials=100

The run must end with a sentence and exit code 2, or finish if it does not need
the call; the next run, without faults, must make what an undisturbed run makes.
"""

import argparse
import errno
import pathlib
import random
import sys
import tempfile
from typing import NamedTuple

from tests.faults import shim
from tests.faults.start import start


class Fault(NamedTuple):
  """Calls that fail.

  Attributes:
    error: number of the error.
    lasting: whether all later calls fail too.
    reads: whether calls that read are meant.
  """

  error: int
  lasting: bool
  reads: bool = False


FAULTS = (
  Fault(errno.ENOSPC, lasting=True),
  Fault(errno.ENOSPC, lasting=False),
  Fault(errno.EIO, lasting=False),
  Fault(errno.EIO, lasting=True, reads=True),
  Fault(errno.EROFS, lasting=True),
)


def main(argv: list[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--program", action="append", help="default: all")
  parser.add_argument("--trials", type=int, default=10, help="per program")
  parser.add_argument("--fault_seed", type=int, default=0)
  flags = parser.parse_args(argv)
  from tests.faults import programs
  from tests.faults.trials import Trials, show_warnings

  show_warnings()
  failures = 0
  with tempfile.TemporaryDirectory() as folder, programs.compiled_once():
    for name in flags.program or programs.NAMES:
      program = programs.create(name, pathlib.Path(folder, name))
      trials = Trials(program, pathlib.Path(folder, name))
      rng, wrong = random.Random(f"{flags.fault_seed} {name}"), 0
      for number in range(flags.trials):
        fault = FAULTS[number % len(FAULTS)]
        count = trials.read_count if fault.reads else trials.count
        first = rng.randint(1, count)
        last = shim.FOREVER if fault.lasting else first
        verdict = trials.fail(first, fault.error, last, fault.reads)
        if verdict.fault:
          wrong += 1
          print(
            f"{name}: {fault} at call {first}: {verdict.fault}\n"
            f"{verdict.messages[-1000:]}"
          )
      print(f"{name}: {flags.trials} failing calls, {wrong} wrong", flush=True)
      failures += wrong
  return int(failures > 0)


if __name__ == "__main__":
  start()
  sys.exit(main())
