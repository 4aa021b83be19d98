"""ProcessGroup: synchronizes the processes of a run and ends them together."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import jax

from get_jax.errors import UsageError
from get_jax.progress import print_ending
from get_jax.training import heartbeats
from get_jax.training.heartbeats import Heartbeat, Peers

# Exit code: another process of the run failed, is stuck or has disappeared.
EXIT_CODE_LOST = 76


class ProcessGroup:
  """This process among those of the run, with a watchdog for the others.

  A process is lost if it sends no heartbeat for `heartbeats.TIMEOUT` seconds,
  or if it makes no progress for `stuck_after` seconds while others wait for it.
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
    self._peers = Peers(index, count, stuck_after)
    self._lock = threading.Lock()
    self._sync_point = 0  # synchronization points passed
    self._progress = 0  # signs of progress, at synchronization points or not
    self._location = "starting"
    self._heartbeats = 0
    self._stop_requested = False  # in this process
    self._stop_known = False  # in any process
    self._stop_sync_point: int | None = None
    self._closing = False
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
    """Calls a function on process 0 and returns its result on every process.

    Args:
      fn: called on process 0 only; its result must be JSON-serializable.

    Raises:
      UsageError: `fn` raised it on process 0; every process raises it.
    """
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

  def abort(self, code: int, reason: str, announce: bool = False) -> NoReturn:
    """Exits this process immediately and makes the others exit.

    Args:
      code: exit code of this process. The others exit with the same code if it
        is 2 (invalid input), else with `EXIT_CODE_LOST`.
      reason: message that the others print.
      announce: whether this process prints it too, as its last line.
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
      time.sleep(3 * heartbeats.INTERVAL)
    if announce:
      _print_error(reason, code)
    _exit(code)

  def close(self) -> None:
    """Announces a regular exit and ends the watchdog."""
    self._closing = True
    for thread in self._threads:
      if thread is not threading.current_thread():
        thread.join(5 * heartbeats.INTERVAL)

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
        time.sleep(heartbeats.INTERVAL)
      self._exchange()
    except jax.errors.JaxRuntimeError:
      pass  # the watchdog reports the loss of the coordination service

  def _exchange(self) -> None:
    """Publishes this process's heartbeat and reads those that it watches."""
    self._heartbeats = -1 if self._closing else self._heartbeats + 1
    own = Heartbeat(
      self._heartbeats, self._sync_point, self._progress, self._location
    )
    directory = "get_jax/heartbeats/"
    self._client.key_value_set(
      f"{directory}{self.index}", json.dumps(own), allow_overwrite=True
    )
    main_key = f"{directory}0"
    entries = (
      self._client.key_value_dir_get(directory)
      if self.index == 0
      else [(main_key, self._client.blocking_key_value_get(main_key, 60_000))]
    )
    self._peers.update(
      (int(name.rpartition("/")[2]), Heartbeat(*json.loads(value)))
      for name, value in entries
    )

  def _read_messages(self) -> None:
    messages = dict(self._client.key_value_dir_get("get_jax/messages/"))
    for name, value in messages.items():
      ends = name.startswith("get_jax/messages/end/")
      sender = name.split("/")[-1]
      if ends and int(sender) != self.index:
        code, reason = json.loads(value)
        _print_error(reason, code)
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
      time.sleep(heartbeats.INTERVAL)
      reason = self._peers.find_lost()
      if reason and not self._closing:
        # Without process 0 there is no store to send a message through.
        if self.index == 0:
          self.abort(EXIT_CODE_LOST, reason, announce=True)
        _print_error(reason, EXIT_CODE_LOST)
        _exit(EXIT_CODE_LOST)


def _print_error(reason: str, code: int) -> None:
  """Prints the last line of this process, after a progress bar."""
  print(file=sys.stderr)
  if code == EXIT_CODE_LOST:
    reason += "; run the same command on all processes to resume"
  print_ending("Failed", reason)


def _exit(code: int) -> NoReturn:
  """Exits without JAX's exit handlers, which wait for the other processes."""
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(code)
