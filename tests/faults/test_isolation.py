"""Nothing connects unless it is asked to, and no file is ever unpickled.

`test_disturbed_calls.py` runs the programs that write a workdir with the same
traps.
"""

import json
import subprocess
import sys

from tests.faults.readers import READERS
from tests.helpers import ROOT, environment

# Each line does what is forbidden, in a process with the traps.
FORBIDDEN = {
  "socket.connect": "socket.socket().connect(('127.0.0.1', 9))",
  "socket.connect, IPv6": "socket.socket(socket.AF_INET6).connect(('::1', 9))",
  "socket.getaddrinfo": "socket.getaddrinfo('localhost', 80)",
  "pickle.loads": "pickle.loads(data)",
  "pickle.load": "pickle.load(io.BytesIO(data))",
  "pickle.Unpickler": "pickle.Unpickler(io.BytesIO(data))",
  "pickle._Unpickler": "pickle._Unpickler(io.BytesIO(data)).load()",
  "pickle.find_class": "_pickle.loads(pickle.dumps(print))",
  "numpy.load": "np.load('nothing', allow_pickle=True)",
}
ATTEMPTS = """
import _pickle, io, pickle, socket, sys
from tests.faults import isolated
import numpy as np
def note(name):
  print(name)
  raise isolated.Trapped
isolated.trap(note)
isolated.end = note
isolated.refuse_objects()
data = pickle.dumps([1])
for line in sys.stdin:
  try:
    exec(line)
    print("done")
  except isolated.Trapped:
    pass
"""


def run_isolated(*command, **options):
  return subprocess.run(
    [sys.executable, *command],
    cwd=ROOT,
    env=environment() | {"HF_HUB_OFFLINE": "0"},
    capture_output=True,
    text=True,
    timeout=900,
    **options,
  )


def test_the_traps_close():
  lines = "".join(f"{line}\n" for line in FORBIDDEN.values())
  done = run_isolated("-c", ATTEMPTS, input=lines)
  assert done.returncode == 0, done.stderr
  found = done.stdout.splitlines()
  assert len(found) == len(FORBIDDEN)
  for line, name in zip(found, FORBIDDEN, strict=True):
    assert line.startswith(name.split(",")[0]), done.stdout


def test_every_module_and_reader_is_isolated(tmp_path):
  done = run_isolated("-m", "tests.faults.isolated", str(tmp_path))
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
  found = json.loads(done.stdout.splitlines()[-1])
  assert found["modules"] > 300
  assert found["readers"] == [k for k, v in READERS.items() if v.is_installed]
