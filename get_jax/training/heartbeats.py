"""What a process knows of the others from their heartbeats."""

import logging
import time
from collections.abc import Iterable
from typing import NamedTuple

# Seconds between two heartbeats.
INTERVAL = 1.0
# Seconds without a heartbeat after which a process is considered lost.
TIMEOUT = 12.0

log = logging.getLogger(__name__)


class Heartbeat(NamedTuple):
  """State that a process publishes every `INTERVAL` seconds.

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


class Peer(NamedTuple):
  """The latest heartbeat of a process, with local times in seconds.

  Attributes:
    heartbeat: the latest heartbeat.
    alive_at: when its `number` last changed.
    progress_at: when its `progress` last changed.
  """

  heartbeat: Heartbeat
  alive_at: float
  progress_at: float


class Peers:
  """The latest heartbeats of the processes of a run.

  Process 0 watches all processes; the others watch process 0.

  Args:
    index: index of this process.
    count: number of processes.
    stuck_after: seconds that a process may make no progress while others wait
      for it.
  """

  def __init__(self, index: int, count: int, stuck_after: float):
    self._index = index
    self._stuck_after = stuck_after
    self._timeout = min(TIMEOUT, stuck_after)
    now = time.monotonic()
    self._last_contact = now
    first = Heartbeat(0, 0, 0, "starting")
    self._peers = {process: Peer(first, now, now) for process in range(count)}
    self._warned_at = now

  def update(self, heartbeats: Iterable[tuple[int, Heartbeat]]) -> None:
    """Notes heartbeats that were just read, by index of the process."""
    now = time.monotonic()
    for process, heartbeat in heartbeats:
      peer = self._peers[process]
      alive = heartbeat.number != peer.heartbeat.number
      progressed = heartbeat.progress != peer.heartbeat.progress
      self._peers[process] = Peer(
        heartbeat,
        now if alive else peer.alive_at,
        now if progressed else peer.progress_at,
      )
    self._last_contact = now

  def find_lost(self) -> str | None:
    """Returns a sentence that names the lost process; None if all are fine."""
    now = time.monotonic()
    if self._index:
      location = self._peers[0].heartbeat.location
      if now - self._last_contact > self._timeout:
        return _no_heartbeat(0, location, now - self._last_contact)
      return None
    furthest = max(peer.heartbeat.sync_point for peer in self._peers.values())
    idle = []
    for process, (heartbeat, alive_at, progress_at) in self._peers.items():
      location = heartbeat.location
      if heartbeat.number == -1:
        continue
      if process and self._last_contact - alive_at > self._timeout:
        return _no_heartbeat(process, location, self._last_contact - alive_at)
      if now - progress_at > self._stuck_after:
        if heartbeat.sync_point < furthest:
          return (
            f"process {process} is stuck: no progress for "
            f"{now - progress_at:.0f} s; it is at: {location}"
          )
        idle.append(f"process {process} at: {location}")
    all_idle = len(idle) == len(self._peers)
    if all_idle and now - self._warned_at > self._stuck_after:
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
