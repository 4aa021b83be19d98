"""One process of several is slowed, killed, stopped or cut off.

A job of pairs and scores starts as four processes, continues as three, as four
and as one, and makes the files of a job that one process does without faults.
"""

import contextlib
import json
import pathlib
import select
import shutil
import signal
import socket
import sys
import threading
import time

import jax
import numpy as np
import pytest

from get_jax.builders.model import build_model
from get_jax.models.parameters import abstract_params
from get_jax.training.checkpoints import Checkpoints
from tests import fork_server
from tests.faults import group_worker
from tests.helpers import environment, free_port

TIMEOUT = 300


class Cable:
  """A connection to a port that can be cut: nothing arrives any more."""

  def __init__(self, port):
    self._target, self._cut = port, False
    self._listener = socket.create_server(("127.0.0.1", 0))
    self.port = self._listener.getsockname()[1]
    threading.Thread(target=self._accept, daemon=True).start()

  def cut(self):
    self._cut = True

  def _accept(self):
    with contextlib.suppress(OSError):  # the end of the test
      while True:
        near = self._listener.accept()[0]
        far = socket.create_connection(("127.0.0.1", self._target))
        threading.Thread(
          target=self._forward, args=(near, far), daemon=True
        ).start()

  def _forward(self, near, far):
    other = {near: far, far: near}
    with contextlib.suppress(OSError), near, far:
      while not self._cut:
        for end in select.select([near, far], [], [], 0.1)[0]:
          data = end.recv(1 << 16)
          if not data:
            return
          other[end].sendall(data)
      time.sleep(TIMEOUT)

  def close(self):
    self._listener.close()


class Group:
  """The processes of a job; `held` is that of `group_worker.run` by process."""

  def __init__(self, folder, count, modes, held, cable=None):
    self.gates, self.count = folder / "gates", count
    port = free_port()
    self.cable = cable and Cable(port)
    ports = [self.cable.port if i == cable else port for i in range(count)]
    self.processes = []
    for index in range(count):
      plan = {
        "workdir": str(folder / "run"),
        "trained": str(folder / "trained"),
        "coordinator": f"127.0.0.1:{ports[index]}" if count > 1 else None,
        "count": count,
        "index": index,
        "modes": modes,
        "held": held(index),
      }
      self.processes.append(
        fork_server.Process(
          [
            sys.executable,
            "-m",
            "tests.faults.group_worker",
            json.dumps(plan),
          ],
          environment(),
          None,
          None,
        )
      )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for process in self.processes:
      process.kill()
      process.wait()
    if self.cable:
      self.cable.close()

  def wait_for(self, condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
      for process in self.processes:
        assert process.poll() is None, process.communicate()
      assert time.monotonic() < deadline
      time.sleep(0.05)

  def wait_until_held(self, mode, indices):
    gates = [self.gates / f"{mode}-{self.count}-{i}" for i in indices]
    self.wait_for(lambda: all(gate.exists() for gate in gates))

  def let_go(self, mode, index):
    (self.gates / f"{mode}-{self.count}-{index}-go").touch()

  def ends(self, indices):
    """Waits for processes; returns their exit codes and last lines."""
    found = []
    for index in indices:
      _, messages = self.processes[index].communicate(TIMEOUT)
      code = self.processes[index].returncode
      found.append((code, messages.splitlines()[-1] if messages else ""))
    return found


def made(folder, pattern):
  """Returns what is complete, by name."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.glob(pattern)
  }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The folder of a job that one process does."""
  folder = tmp_path_factory.mktemp("whole")
  (folder / "gates").mkdir()
  rng = np.random.RandomState(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype),
    abstract_params(build_model(group_worker.config())),
  )
  with Checkpoints(folder / "trained" / "checkpoints") as checkpoints:
    checkpoints.save_params(params)
  with Group(folder, 1, ["pairs", "evaluate"], lambda index: {}) as group:
    assert group.ends([0])[0][0] == 0
  return folder


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory, whole):
  """The folder of the disturbed job, and how its processes ended."""
  folder, ends = tmp_path_factory.mktemp("disturbed"), {}
  (folder / "gates").mkdir()
  checkpoints = pathlib.Path("trained", "checkpoints")
  shutil.copytree(whole / checkpoints, folder / checkpoints)

  # Process 2 is slow: its first shard is the last one.
  def held(index):
    return {"pairs": 0 if index == 2 else 2}

  with Group(folder, 4, ["pairs"], held) as group:
    group.wait_until_held("pairs", range(4))
    group.let_go("pairs", 2)
    group.wait_for(lambda: len(made(folder, "run/pairs/0*.json")) == 6 + 3)
    group.processes[3].send_signal(signal.SIGKILL)
    ends["killed"] = group.ends(range(3))

  with Group(
    folder, 3, ["pairs", "evaluate"], lambda _: {"evaluate": 1}
  ) as group:
    group.wait_until_held("evaluate", range(3))
    group.processes[1].send_signal(signal.SIGSTOP)
    ends["stopped"] = group.ends([0, 2])

  with Group(folder, 4, ["evaluate"], lambda _: {"evaluate": 1}, 3) as group:
    group.wait_until_held("evaluate", range(4))
    group.cable.cut()
    ends["cut off"] = group.ends(range(4))

  with Group(folder, 1, ["evaluate"], lambda _: {}) as group:
    ends["alone"] = group.ends([0])
  return folder, ends


def test_the_others_end_and_name_the_lost_process(disturbed):
  _, ends = disturbed
  lost = {"killed": [3] * 3, "stopped": [1] * 2, "cut off": [3, 3, 3, 0]}
  for disturbance, names in lost.items():
    for (code, last), name in zip(ends[disturbance], names, strict=True):
      assert code == 76, (disturbance, last)
      assert last.startswith(f"Failed: process {name} is lost: no heartbeat")
      assert last.endswith("; run the same command on all processes to resume")
  assert ends["alone"][0][0] == 0, ends["alone"]


@pytest.mark.parametrize(
  ("pattern", "count"),
  [
    ("run/pairs/[0m]*", 3 * group_worker.PAIRS // group_worker.BATCH + 1),
    ("trained/features/*/*.npz", group_worker.SCORED // group_worker.BATCH),
    ("*/results/*.json", 2),
  ],
)
def test_the_results_are_those_of_an_undisturbed_job(
  whole, disturbed, pattern, count
):
  found = made(disturbed[0], pattern)
  assert len(found) == count
  assert found == made(whole, pattern)


@pytest.mark.parametrize("mode", ("pairs", "evaluate"))
def test_no_sample_is_made_twice(whole, disturbed, mode):
  expected, found = (
    (folder / "gates" / f"{mode}-made").read_text().split()
    for folder in (whole, disturbed[0])
  )
  assert sorted(found) == sorted(expected)
  assert len({*found}) == len(found) >= group_worker.PAIRS
