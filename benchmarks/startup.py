"""Start-up: time of new processes, of which one runs after the other."""

import functools
import os
import statistics
import subprocess
import sys
import time

import tables
from timing import Cases, Row, Scale

SUMMARY = ["main.py", "--mode=summary", "--config=configs/dit_digits.py"]
COMMANDS = {
  "python -c pass": ["-c", "pass"],
  "import jax": ["-c", "import jax"],
  "import get_jax": ["-c", "import get_jax"],
  "import get_jax.modes.train": ["-c", "import get_jax.modes.train"],
  "main.py --help": ["main.py", "--help"],
  "main.py --mode=summary --config=configs/dit_digits.py": SUMMARY,
}


def cases(scale: Scale) -> Cases:
  """Returns one case with all commands, which run alternately."""
  return {"commands": functools.partial(rows, scale)}


def rows(scale: Scale) -> list[Row]:
  """Returns one row per command."""
  names = list(COMMANDS)[:1] if scale.name == "tiny" else list(COMMANDS)
  wall: dict[str, list[float]] = {name: [] for name in names}
  cpu: dict[str, list[float]] = {name: [] for name in names}
  for i in range(scale.repeats + 1):
    for name in names[:: 1 if i % 2 == 0 else -1]:
      start, before = time.perf_counter(), os.times()
      subprocess.run(
        [sys.executable, *COMMANDS[name]],
        cwd=tables.ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
      )
      after = os.times()
      if i:  # The first run reads the files from disk.
        wall[name].append(time.perf_counter() - start)
        children = after.children_user - before.children_user
        children += after.children_system - before.children_system
        cpu[name].append(children)
  return [
    {
      "command": name,
      "wall s": statistics.median(wall[name]),
      "CPU s": statistics.median(cpu[name]),
      "fastest wall s": min(wall[name]),
    }
    for name in names
  ]
