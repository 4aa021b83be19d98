"""Kills small programs at every call that writes, and resumes them.

  python -m tests.faults.kills --program=train --all

One run is recorded: every call that changes its workdir, from Python and from
C++, with its data. Every state of the workdir that a kill can leave is made
from the record (`tests.faults.replay`), and the program is resumed from it in
this process, in which it is compiled already. So a kill at each of a thousand
calls takes minutes, not hours. States that differ only in files that the next
run removes unread are resumed once. `--trials` takes a random sample of all.
"""

import argparse
import pathlib
import random
import sys
import tempfile

from tests.faults.start import start


def main(argv: list[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--program", action="append", help="default: all")
  parser.add_argument("--all", action="store_true", help="every kill")
  parser.add_argument("--trials", type=int, default=20, help="per program")
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
      kills = trials.kills()
      count = len(kills)
      if flags.all:
        kills = trials.distinct_kills()
      else:
        rng = random.Random(f"{flags.fault_seed} {name}")
        kills = rng.sample(kills, min(flags.trials, count))
      wrong = 0
      for kill in kills:
        verdict = trials.kill(kill)
        if verdict.fault:
          wrong += 1
          print(f"{name}: {kill}: {verdict.fault}\n{verdict.messages[-500:]}")
      print(
        f"{name}: {len(kills)} states of {count} kills at {trials.count} "
        f"calls, {wrong} wrong",
        flush=True,
      )
      failures += wrong
  return int(failures > 0)


if __name__ == "__main__":
  start()
  sys.exit(main())
