"""Kills and failing disks at random calls of small programs.

`tests.faults.soak` runs any number of such trials, and `tests.faults.kills`
kills each program at every call that writes.
"""

import re
import subprocess
import sys

import pytest

from tests.faults import shim
from tests.faults.programs import NAMES
from tests.helpers import ROOT, environment

TRIALS = 30


@pytest.fixture(scope="module")
def lines():
  """The lines of all trials, which one process runs."""
  if shim.compiler() is None:
    pytest.skip("needs Linux and a C compiler")
  done = subprocess.run(
    [sys.executable, "-m", "tests.faults.soak", f"--trials={TRIALS}"],
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=900,
  )
  assert done.returncode in (0, 1), done.stderr
  *trials, summary = done.stdout.splitlines()
  assert re.fullmatch(r"\d+ kills and \d+ faults, seed 0: \d+ wrong", summary)
  return trials


@pytest.mark.parametrize("program", NAMES)
def test_a_disturbed_program_makes_what_a_whole_run_makes(lines, program):
  found = [line for line in lines if re.match(rf"\d+ {program}: ", line)]
  assert len(found) == TRIALS // len(NAMES)
  assert any("killed after call" in line for line in found)
  assert any(", call " in line for line in found)
  wrong = [line for line in found if not line.endswith(": ok")]
  assert not wrong, "\n".join(lines)
