"""Several processes as one run: joining, deciding, noticing who is lost.

JAX moves the arrays. What is exchanged here are a few bytes a second, through
the key-value store of JAX's coordination service: signs of life, requests to
stop, and why a process ends. So a process that fails, hangs or is stopped ends
the others with a sentence, and not after hours.
"""

import atexit
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import jax
from jax._src import distributed

from get_jax.errors import UsageError

LOST = 76  # exit code: another process failed, is stuck or is gone
HEARTBEAT_INTERVAL = 1.0  # seconds between two signs of life
HEARTBEAT_TIMEOUT = (
  12.0  # seconds without a sign of life that make a process lost
)
VISIBILITY_TIMEOUT = (
  60.0  # seconds until a shared folder must show what is in it
)
JAX_HEARTBEAT_TIMEOUT = (
  60  # after which JAX would end the others, where the watch did not
)

log = logging.getLogger(__name__)
_process_group: "ProcessGroup | None" = None


def process_group() -> "ProcessGroup | None":
  """The processes of this run; None where this one is alone."""
  return _process_group


def initialize(
  coordinator: str, num_processes: int, process_id: int, stuck_after: float
) -> None:
  """Makes this process one of several; JAX then has the devices of all.

  Args:
    coordinator: "host:port" of process 0; the port must be free there.
    num_processes: how many there are.
    process_id: which one this is, from 0.
    stuck_after: seconds; see `ProcessGroup`.

  Raises:
    UsageError: the others cannot be reached.
  """
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      cluster_detection_method="deactivate",
      heartbeat_timeout_seconds=JAX_HEARTBEAT_TIMEOUT,
    )
  except RuntimeError as error:
    reason = " ".join(str(error).split())
    raise UsageError(
      f"process {process_id} cannot meet the others at {coordinator} "
      f"({reason}); expected the address of process 0 and a free port there"
    ) from error
  _enter(stuck_after)


def initialize_cluster(
  local_devices: list[int] | None, stuck_after: float
) -> None:
  """The same where JAX knows the cluster (Cloud TPU, Slurm)."""
  jax.distributed.initialize(
    local_device_ids=local_devices,
    heartbeat_timeout_seconds=JAX_HEARTBEAT_TIMEOUT,
  )
  _enter(stuck_after)


def _enter(stuck_after: float) -> None:
  global _process_group
  client = distributed.global_state.client
  _process_group = ProcessGroup(
    client, jax.process_index(), jax.process_count(), stuck_after
  )
  # After JAX's own handler, hence run before it.
  atexit.register(_process_group.close)


def run_on_main(choose: Callable[[], Any]) -> Any:
  """What process 0 chooses, for all; every process must ask.

  Args:
    choose: called on process 0 alone; its result must be JSON.

  Raises:
    UsageError: process 0 refused; all do.
  """
  return (
    choose() if _process_group is None else _process_group.run_on_main(choose)
  )


def allgather(word: str) -> list[str]:
  """The word of each process, in order; every process must call it."""
  return [word] if _process_group is None else _process_group.allgather(word)


def wait_until_visible(there: Callable[[], bool]) -> bool:
  """Whether what another process wrote is there, soon: disks may be slow."""
  deadline = time.monotonic() + (
    0 if _process_group is None else VISIBILITY_TIMEOUT
  )
  while not there():
    if time.monotonic() > deadline:
      return False
    time.sleep(0.2)
  return True


class ProcessGroup:
  """This process among those of the run, with a watch over the others.

  A process is lost if it sends no heartbeat for `HEARTBEAT_TIMEOUT` seconds, or
  if it makes no progress for `stuck_after` seconds while others wait for it.
  All others then end with exit code `LOST` and print its last location.

  Args:
    client: of JAX's coordination service.
    index: of this process.
    count: of all.
    stuck_after: seconds that one may stand still while others wait.
  """

  def __init__(self, client, index: int, count: int, stuck_after: float):
    self.index, self.count = index, count
    self._client = client
    self._stuck_after = stuck_after
    self._silence = min(HEARTBEAT_TIMEOUT, stuck_after)
    self._lock = threading.Lock()
    self._stage = 0  # moments passed that all processes pass
    self._moves = 0  # signs of progress, a stage or not
    self._location = "starting"
    self._exchanges = 0
    self._stop_wanted = False
    self._stop_known = False
    self._stop_stage: int | None = None
    self._closing = False
    now = time.monotonic()
    self._contact = now
    # Of each process: what it said last, since when, since when unmoved.
    said = [0, 0, 0, "starting"]
    self._heard = {process: (said, now, now) for process in range(count)}
    self._warned_at = now
    self._threads = [
      threading.Thread(
        target=self._exchange_loop, daemon=True, name="get_jax talk"
      ),
      threading.Thread(target=self._watch, daemon=True, name="get_jax watch"),
    ]
    for thread in self._threads:
      thread.start()

  # What the program asks.

  def should_stop(self, location: str) -> bool:
    """Whether all stop at this moment, which every process passes.

    Args:
      location: where the program is, for messages.
    """
    with self._lock:
      self._advance(location)
      return self._stop_stage is not None and self._stage >= self._stop_stage

  def should_stop_independently(self, location: str) -> bool:
    """Whether to stop, at a moment that is this process's own."""
    self._moves, self._location = self._moves + 1, location
    return self._stop_known or self._stop_wanted

  def request_stop(self) -> None:
    """Asks all to stop; safe in a signal handler."""
    self._stop_wanted = True

  def run_on_main(self, choose: Callable[[], Any]) -> Any:
    """See the function of this name."""
    if self.index == 0:
      try:
        verdict = {"value": choose()}
      except UsageError as error:
        verdict = {"refused": str(error)}
    with self._lock:
      self._advance(self._location)
    key = f"get_jax/decided/{self._stage}/"
    if self.index == 0:
      self._client.key_value_set(key + "0", json.dumps(verdict))
    else:
      verdict = json.loads(self._wait_for(key, 1)[0])
    if "refused" in verdict:
      raise UsageError(verdict["refused"])
    return verdict["value"]

  def allgather(self, word: str = "") -> list[str]:
    """Waits for all processes; returns the word of each, in order."""
    with self._lock:
      self._advance(self._location)
    key = f"get_jax/met/{self._stage}/"
    self._client.key_value_set(f"{key}{self.index:06d}", word)
    return self._wait_for(key, self.count)

  def abort(self, code: int, reason: str) -> NoReturn:
    """Ends this process at once, and the others with `LOST` or `code`.

    Args:
      code: exit code; 2 (bad input) holds for the others too.
      reason: for them to print.
    """
    self._closing = True
    others_code = code if code == 2 else LOST
    messages = json.dumps([others_code, reason])
    try:
      self._client.key_value_set(f"get_jax/messages/end/{self.index}", messages)
    except jax.errors.JaxRuntimeError:
      pass  # no one is there to hear it
    if self.index == 0:
      # With process 0 goes the store; the others must have read it.
      time.sleep(3 * HEARTBEAT_INTERVAL)
    _exit(code)

  def close(self) -> None:
    """Says goodbye and ends the watch."""
    self._closing = True
    for thread in self._threads:
      if thread is not threading.current_thread():
        thread.join(5 * HEARTBEAT_INTERVAL)

  # The threads.

  def _advance(self, location: str) -> None:
    self._stage += 1
    self._moves, self._location = self._moves + 1, location

  def _wait_for(self, key: str, count: int) -> list[str]:
    while True:
      found = self._client.key_value_dir_get(key)
      if len(found) == count:
        return [value for _, value in sorted(found)]
      time.sleep(0.05)

  def _exchange_loop(self) -> None:
    try:
      while not self._closing:
        self._exchange()
        self._read_messages()
        time.sleep(HEARTBEAT_INTERVAL)
      self._exchange()
    except jax.errors.JaxRuntimeError:
      pass  # the watch tells

  def _exchange(self) -> None:
    """Gives a sign of life and takes those of the others."""
    self._exchanges = -1 if self._closing else self._exchanges + 1
    mine = [self._exchanges, self._stage, self._moves, self._location]
    key = "get_jax/life/"
    self._client.key_value_set(
      f"{key}{self.index}", json.dumps(mine), allow_overwrite=True
    )
    # Process 0 watches all, the others watch it.
    where = key if self.index == 0 else f"{key}0"
    signs = (
      self._client.key_value_dir_get(where)
      if self.index == 0
      else [(where, self._client.blocking_key_value_get(where, 60_000))]
    )
    now = time.monotonic()
    for name, value in signs:
      process, said = int(name.rpartition("/")[2]), json.loads(value)
      before, since, unmoved_since = self._heard[process]
      self._heard[process] = (
        said,
        now if said[0] != before[0] else since,
        now if said[2] != before[2] else unmoved_since,
      )
    self._contact = now

  def _read_messages(self) -> None:
    messages = dict(self._client.key_value_dir_get("get_jax/messages/"))
    for name, value in messages.items():
      ends, sender = (
        name.startswith("get_jax/messages/end/"),
        name.split("/")[-1],
      )
      if ends and int(sender) != self.index:
        code, reason = json.loads(value)
        _print_error(reason)
        _exit(code)
    requested = any(
      name.startswith("get_jax/messages/stop/") for name in messages
    )
    if self._stop_stage is None and (requested or self._stop_wanted):
      self._stop_known = True
      self._agree_on_stop_stage()

  def _agree_on_stop_stage(self) -> None:
    """Fixes the stage at which all stop: the next that nobody has passed."""
    key = "get_jax/messages/stop/"
    # Who has requested its stage passes no other until all have.
    with self._lock:
      self._client.key_value_set(f"{key}{self.index}", str(self._stage))
      while True:
        stages = self._client.key_value_dir_get(key)
        if len(stages) == self.count:
          break
        self._exchange()
        time.sleep(0.05)
      self._stop_stage = 1 + max(int(stage) for _, stage in stages)

  def _watch(self) -> None:
    while not self._closing:
      time.sleep(HEARTBEAT_INTERVAL)
      lost = self._lost()
      if lost and not self._closing:
        _print_error(lost)
        # Without process 0 there is no one to tell.
        self.abort(LOST, lost) if self.index == 0 else _exit(LOST)

  def _lost(self) -> str | None:
    """Who is lost, in one sentence."""
    now = time.monotonic()
    if self.index:
      location = self._heard[0][0][3]
      if now - self._contact > self._silence:
        return _silent(0, location, now - self._contact)
      return None
    furthest = max(said[1] for said, _, _ in self._heard.values())
    still = []
    for process, (said, since, unmoved_since) in self._heard.items():
      exchanges, stage, _, location = said
      if exchanges == -1:
        continue
      if process and self._contact - since > self._silence:
        return _silent(process, location, self._contact - since)
      if now - unmoved_since > self._stuck_after:
        if stage < furthest:
          return (
            f"process {process} is stuck: it has not moved for "
            f"{now - unmoved_since:.0f} s; it is at: {location}"
          )
        still.append(f"process {process} at: {location}")
    if len(still) == self.count and now - self._warned_at > self._stuck_after:
      self._warned_at = now
      log.warning(
        "nothing has moved for %.0f s; %s", self._stuck_after, ", ".join(still)
      )
    return None


def _silent(process: int, location: str, seconds: float) -> str:
  return (
    f"process {process} is lost: no sign of life for {seconds:.0f} s; it was "
    f"last at: {location}"
  )


def _print_error(sentence: str) -> None:
  print(f"\n{sentence}", file=sys.stderr, flush=True)


def _exit(code: int) -> NoReturn:
  """Ends the process without JAX's farewell, which waits for the others."""
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(code)
