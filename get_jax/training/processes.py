"""Coordinates the processes of a run and detects failed ones.

JAX transfers the arrays. This module exchanges a few bytes per second through
the key-value store of JAX's coordination service: heartbeats, stop requests and
the reasons why processes exit. If one process fails, hangs or is stopped, the
others exit within seconds and print the reason, instead of waiting in a
collective for hours.
"""

import atexit
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import jax
from jax._src import distributed

from get_jax.errors import UsageError

# Exit code: another process of the run failed, is stuck or has disappeared.
EXIT_CODE_LOST = 76
# Seconds between two heartbeats.
HEARTBEAT_INTERVAL = 1.0
# Seconds without a heartbeat after which a process is considered lost.
HEARTBEAT_TIMEOUT = 12.0
# Seconds within which files in a shared folder must become visible.
VISIBILITY_TIMEOUT = 60.0
# Seconds after which JAX ends the others, if the watchdog here has not.
JAX_HEARTBEAT_TIMEOUT = 60

log = logging.getLogger(__name__)
_process_group: "ProcessGroup | None" = None


def process_group() -> "ProcessGroup | None":
  """Returns the process group of this run; None in a single-process run."""
  return _process_group


def initialize(
  coordinator: str, num_processes: int, process_id: int, stuck_after: float
) -> None:
  """Joins the processes of a run; JAX then sees the devices of all of them.

  Args:
    coordinator: "host:port" of process 0; the port must be free there.
    num_processes: number of processes.
    process_id: index of this process, from 0.
    stuck_after: seconds; see `ProcessGroup`.

  Raises:
    UsageError: the other processes cannot be reached.
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
      f"process {process_id} cannot connect to the others at {coordinator} "
      f"({reason}); expected the address of process 0 and a free port there"
    ) from error
  _create_process_group(stuck_after)


def initialize_cluster(
  local_devices: list[int] | None, stuck_after: float
) -> None:
  """Joins the processes of a cluster that JAX detects (Cloud TPU, Slurm).

  Args:
    local_devices: indices of the devices of this process; None: JAX's default.
    stuck_after: seconds; see `ProcessGroup`.
  """
  jax.distributed.initialize(
    local_device_ids=local_devices,
    heartbeat_timeout_seconds=JAX_HEARTBEAT_TIMEOUT,
  )
  _create_process_group(stuck_after)


def _create_process_group(stuck_after: float) -> None:
  global _process_group
  client = distributed.global_state.client
  _process_group = ProcessGroup(
    client, jax.process_index(), jax.process_count(), stuck_after
  )
  # Registered after JAX's own exit handler, and therefore run before it.
  atexit.register(_process_group.close)


def run_on_main(fn: Callable[[], Any]) -> Any:
  """Calls a function on process 0 and returns its result on every process.

  Every process must call this function.

  Args:
    fn: called on process 0 only; its result must be JSON-serializable.

  Raises:
    UsageError: `fn` raised it on process 0; every process raises it.
  """
  return fn() if _process_group is None else _process_group.run_on_main(fn)


def allgather(text: str) -> list[str]:
  """Returns the text of every process, by process index.

  Every process must call this function.
  """
  return [text] if _process_group is None else _process_group.allgather(text)


def wait_until_visible(exists: Callable[[], bool]) -> bool:
  """Waits until files written by another process are visible to this one.

  Shared file systems may show them late.

  Args:
    exists: whether the files are visible.

  Returns:
    Whether they became visible within `VISIBILITY_TIMEOUT` seconds. In a
    single-process run nothing is waited for.
  """
  deadline = time.monotonic() + (
    0 if _process_group is None else VISIBILITY_TIMEOUT
  )
  while not exists():
    if time.monotonic() > deadline:
      return False
    time.sleep(0.2)
  return True


class _Heartbeat(NamedTuple):
  """State that a process publishes every `HEARTBEAT_INTERVAL` seconds.

  Attributes:
    number: heartbeats sent so far; -1 after a regular exit.
    sync_point: synchronization points passed so far.
    progress: signs of progress so far, at synchronization points or not.
    location: description of the current position in the program.
  """

  number: int
  sync_point: int
  progress: int
  location: str


class _Peer(NamedTuple):
  """The latest heartbeat of a process, with local times in seconds.

  Attributes:
    heartbeat: the latest heartbeat.
    alive_at: when its `number` last changed.
    progress_at: when its `progress` last changed.
  """

  heartbeat: _Heartbeat
  alive_at: float
  progress_at: float


class ProcessGroup:
  """This process among those of the run, with a watchdog for the others.

  A process is lost if it sends no heartbeat for `HEARTBEAT_TIMEOUT` seconds, or
  if it makes no progress for `stuck_after` seconds while others wait for it.
  All others then exit with code `EXIT_CODE_LOST` and print its last location.

  A synchronization point is a call that every process makes in the same order:
  `should_stop`, `run_on_main` and `allgather`.

  Args:
    client: client of JAX's coordination service.
    index: index of this process.
    count: number of processes.
    stuck_after: seconds that a process may make no progress while others wait
      for it.
  """

  def __init__(self, client, index: int, count: int, stuck_after: float):
    self.index, self.count = index, count
    self._client = client
    self._stuck_after = stuck_after
    self._heartbeat_timeout = min(HEARTBEAT_TIMEOUT, stuck_after)
    self._lock = threading.Lock()
    self._sync_point = 0  # synchronization points passed
    self._progress = 0  # signs of progress, at synchronization points or not
    self._location = "starting"
    self._heartbeats = 0
    self._stop_requested = False  # in this process
    self._stop_known = False  # in any process
    self._stop_sync_point: int | None = None
    self._closing = False
    now = time.monotonic()
    self._last_contact = now
    first = _Heartbeat(0, 0, 0, "starting")
    self._peers = {process: _Peer(first, now, now) for process in range(count)}
    self._warned_at = now
    self._threads = [
      threading.Thread(
        target=self._heartbeat_loop, daemon=True, name="get_jax heartbeat"
      ),
      threading.Thread(
        target=self._watchdog_loop, daemon=True, name="get_jax watchdog"
      ),
    ]
    for thread in self._threads:
      thread.start()

  # Methods called by the program.

  def should_stop(self, location: str) -> bool:
    """Returns whether all processes stop at this synchronization point.

    Args:
      location: current position in the program, for messages.
    """
    with self._lock:
      self._advance(location)
      return (
        self._stop_sync_point is not None
        and self._sync_point >= self._stop_sync_point
      )

  def should_stop_independently(self, location: str) -> bool:
    """Returns whether to stop, at a point that only this process passes."""
    self._progress, self._location = self._progress + 1, location
    return self._stop_known or self._stop_requested

  def request_stop(self) -> None:
    """Requests that all processes stop; safe in a signal handler."""
    self._stop_requested = True

  def run_on_main(self, fn: Callable[[], Any]) -> Any:
    """See the function `run_on_main` of this module."""
    if self.index == 0:
      try:
        outcome = {"value": fn()}
      except UsageError as error:
        outcome = {"error": str(error)}
    with self._lock:
      self._advance(self._location)
    key = f"get_jax/run_on_main/{self._sync_point}/"
    if self.index == 0:
      self._client.key_value_set(key + "0", json.dumps(outcome))
    else:
      outcome = json.loads(self._wait_for(key, 1)[0])
    if "error" in outcome:
      raise UsageError(outcome["error"])
    return outcome["value"]

  def allgather(self, text: str = "") -> list[str]:
    """Waits for all processes and returns their texts, by process index."""
    with self._lock:
      self._advance(self._location)
    key = f"get_jax/allgather/{self._sync_point}/"
    self._client.key_value_set(f"{key}{self.index:06d}", text)
    return self._wait_for(key, self.count)

  def abort(self, code: int, reason: str) -> NoReturn:
    """Exits this process immediately and makes the others exit.

    Args:
      code: exit code of this process. The others exit with the same code if it
        is 2 (invalid input), else with `EXIT_CODE_LOST`.
      reason: message that the others print.
    """
    self._closing = True
    others_code = code if code == 2 else EXIT_CODE_LOST
    message = json.dumps([others_code, reason])
    try:
      self._client.key_value_set(f"get_jax/messages/end/{self.index}", message)
    except jax.errors.JaxRuntimeError:
      pass  # the coordination service has gone, so no process can read it
    if self.index == 0:
      # The store ends with process 0; the others must read the message first.
      time.sleep(3 * HEARTBEAT_INTERVAL)
    _exit(code)

  def close(self) -> None:
    """Announces a regular exit and ends the watchdog."""
    self._closing = True
    for thread in self._threads:
      if thread is not threading.current_thread():
        thread.join(5 * HEARTBEAT_INTERVAL)

  # Methods run by the program's thread and the two background threads.

  def _advance(self, location: str) -> None:
    self._sync_point += 1
    self._progress, self._location = self._progress + 1, location

  def _wait_for(self, key: str, count: int) -> list[str]:
    while True:
      entries = self._client.key_value_dir_get(key)
      if len(entries) == count:
        return [value for _, value in sorted(entries)]
      time.sleep(0.05)

  def _heartbeat_loop(self) -> None:
    try:
      while not self._closing:
        self._exchange()
        self._read_messages()
        time.sleep(HEARTBEAT_INTERVAL)
      self._exchange()
    except jax.errors.JaxRuntimeError:
      pass  # the watchdog reports the loss of the coordination service

  def _exchange(self) -> None:
    """Publishes this process's heartbeat and reads those of the others."""
    self._heartbeats = -1 if self._closing else self._heartbeats + 1
    own = _Heartbeat(
      self._heartbeats, self._sync_point, self._progress, self._location
    )
    directory = "get_jax/heartbeats/"
    self._client.key_value_set(
      f"{directory}{self.index}", json.dumps(own), allow_overwrite=True
    )
    # Process 0 watches all processes; the others watch process 0.
    main_key = f"{directory}0"
    entries = (
      self._client.key_value_dir_get(directory)
      if self.index == 0
      else [(main_key, self._client.blocking_key_value_get(main_key, 60_000))]
    )
    now = time.monotonic()
    for name, value in entries:
      process = int(name.rpartition("/")[2])
      heartbeat, peer = _Heartbeat(*json.loads(value)), self._peers[process]
      alive = heartbeat.number != peer.heartbeat.number
      progressed = heartbeat.progress != peer.heartbeat.progress
      self._peers[process] = _Peer(
        heartbeat,
        now if alive else peer.alive_at,
        now if progressed else peer.progress_at,
      )
    self._last_contact = now

  def _read_messages(self) -> None:
    messages = dict(self._client.key_value_dir_get("get_jax/messages/"))
    for name, value in messages.items():
      ends = name.startswith("get_jax/messages/end/")
      sender = name.split("/")[-1]
      if ends and int(sender) != self.index:
        code, reason = json.loads(value)
        _print_error(reason)
        _exit(code)
    requested = any(
      name.startswith("get_jax/messages/stop/") for name in messages
    )
    if self._stop_sync_point is None and (requested or self._stop_requested):
      self._stop_known = True
      self._agree_on_stop()

  def _agree_on_stop(self) -> None:
    """Sets the first synchronization point that no process has passed yet."""
    key = "get_jax/messages/stop/"
    # A process that has published its synchronization point holds the lock, and
    # so passes no other, until all processes have published theirs.
    with self._lock:
      self._client.key_value_set(f"{key}{self.index}", str(self._sync_point))
      while True:
        entries = self._client.key_value_dir_get(key)
        if len(entries) == self.count:
          break
        self._exchange()
        time.sleep(0.05)
      self._stop_sync_point = 1 + max(int(value) for _, value in entries)

  def _watchdog_loop(self) -> None:
    while not self._closing:
      time.sleep(HEARTBEAT_INTERVAL)
      reason = self._find_lost_process()
      if reason and not self._closing:
        _print_error(reason)
        # Without process 0 there is no store to send a message through.
        if self.index == 0:
          self.abort(EXIT_CODE_LOST, reason)
        else:
          _exit(EXIT_CODE_LOST)

  def _find_lost_process(self) -> str | None:
    """Returns a sentence that names the lost process; None if all are fine."""
    now = time.monotonic()
    if self.index:
      location = self._peers[0].heartbeat.location
      if now - self._last_contact > self._heartbeat_timeout:
        return _no_heartbeat(0, location, now - self._last_contact)
      return None
    furthest = max(peer.heartbeat.sync_point for peer in self._peers.values())
    idle = []
    for process, (heartbeat, alive_at, progress_at) in self._peers.items():
      location = heartbeat.location
      if heartbeat.number == -1:
        continue
      if process and self._last_contact - alive_at > self._heartbeat_timeout:
        return _no_heartbeat(process, location, self._last_contact - alive_at)
      if now - progress_at > self._stuck_after:
        if heartbeat.sync_point < furthest:
          return (
            f"process {process} is stuck: no progress for "
            f"{now - progress_at:.0f} s; it is at: {location}"
          )
        idle.append(f"process {process} at: {location}")
    if len(idle) == self.count and now - self._warned_at > self._stuck_after:
      self._warned_at = now
      log.warning(
        "no process has made progress for %.0f s; %s",
        self._stuck_after,
        ", ".join(idle),
      )
    return None


def _no_heartbeat(process: int, location: str, seconds: float) -> str:
  return (
    f"process {process} is lost: no heartbeat for {seconds:.0f} s; it was last "
    f"at: {location}"
  )


def _print_error(message: str) -> None:
  print(f"\n{message}", file=sys.stderr, flush=True)


def _exit(code: int) -> NoReturn:
  """Exits without JAX's exit handlers, which wait for the other processes."""
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(code)
