"""Coordination of processes, simulated with threads and a shared dictionary."""

import threading
import time

import pytest

from get_jax.errors import UsageError
from get_jax.training import heartbeats, process_group

# An exit is a SystemExit in the thread that detected the failure.
pytestmark = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


class Store:
  """The used part of JAX's key-value store."""

  def __init__(self):
    self.values, self.lock = {}, threading.Lock()

  def key_value_set(self, key, value, allow_overwrite=False):
    with self.lock:
      assert allow_overwrite or key not in self.values
      self.values[key] = value

  def key_value_dir_get(self, key):
    with self.lock:
      return [(k, v) for k, v in self.values.items() if k.startswith(key)]

  def blocking_key_value_get(self, key, timeout_in_ms):
    deadline = time.monotonic() + timeout_in_ms / 1000
    while time.monotonic() < deadline:
      with self.lock:
        if key in self.values:
          return self.values[key]
      time.sleep(0.01)
    raise AssertionError(f"{key} was not set")


@pytest.fixture
def group(monkeypatch):
  """`start(count, stuck_after) -> (groups, messages, exited)`."""
  monkeypatch.setattr(heartbeats, "INTERVAL", 0.05)
  groups: list[process_group.ProcessGroup] = []
  messages: list[str] = []
  exited = threading.Event()

  def exit_thread(code):
    exited.set()
    raise SystemExit(code)

  monkeypatch.setattr(process_group, "_exit", exit_thread)
  monkeypatch.setattr(
    process_group, "_print_error", lambda reason, code: messages.append(reason)
  )

  def start(count, stuck_after=900.0):
    store = Store()
    for index in range(count):
      groups.append(
        process_group.ProcessGroup(store, index, count, stuck_after)
      )
    return groups, messages, exited

  yield start
  for each in groups:
    each.close()


def run_in_threads(groups, work):
  """The results of `work(group)`, run in one thread per group."""
  results = {}

  def run(each):
    results[each.index] = work(each)

  threads = [threading.Thread(target=run, args=(g,)) for g in groups]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  return [results[each.index] for each in groups]


def test_run_on_main_and_allgather(group):
  groups, _, _ = group(3)
  called = []

  def work(each):
    def fn():
      called.append(each.index)
      return {"steps": [1, 2]}

    def fail():
      raise UsageError("no such folder")

    results = each.run_on_main(fn), each.allgather(f"text {each.index}")
    with pytest.raises(UsageError, match="no such folder"):
      each.run_on_main(fail)
    return results

  texts = ["text 0", "text 1", "text 2"]
  assert run_in_threads(groups, work) == [({"steps": [1, 2]}, texts)] * 3
  assert called == [0]


def test_all_stop_at_the_same_synchronization_point(group):
  groups, _, _ = group(3)
  paces = (0.001, 0.003, 0.01)

  def work(each):
    for step in range(1, 10_000):
      if each.index == 2 and step == 20:
        each.request_stop()
      if each.should_stop(f"step {step}"):
        return step
      time.sleep(paces[each.index])
    return None

  first, *others = run_in_threads(groups, work)
  assert first is not None and first > 20
  assert others == [first] * 2


def test_independent_processes_stop_at_their_next_check(group):
  groups, _, _ = group(2)
  groups[1].request_stop()
  assert groups[1].should_stop_independently("shard 3")
  for _ in range(200):
    if groups[0].should_stop_independently("shard 2"):
      break
    time.sleep(0.05)
  else:
    raise AssertionError("the request did not arrive")


def test_a_stuck_process_is_reported_with_its_location(group):
  groups, messages, exited = group(3, stuck_after=2.0)
  for step in range(3):
    for each in groups:
      assert not each.should_stop(f"step {step}")
  for each in groups[:2]:
    each.should_stop("step 3")
  assert exited.wait(60)
  assert messages[0].startswith("process 2 is stuck: no progress for ")
  assert messages[0].endswith("it is at: step 2")


def test_a_process_that_waits_for_another_is_not_stuck(group):
  groups, messages, exited = group(2, stuck_after=2.0)
  waiting = threading.Thread(target=groups[1].allgather, daemon=True)
  waiting.start()
  for batch in range(40):
    groups[0].should_stop_independently(f"batch {batch}")
    time.sleep(0.1)
  assert not exited.is_set() and not messages
  groups[0].allgather()
  waiting.join(60)
  assert not waiting.is_alive()


def test_a_process_without_heartbeat_is_reported_with_its_location(group):
  groups, messages, exited = group(2, stuck_after=1.0)
  for each in groups:
    each.should_stop("step 7")
  time.sleep(0.5)
  # Its threads end without announcing a regular exit.
  groups[1]._exchange = lambda: None
  groups[1]._closing = True
  assert exited.wait(60)
  assert messages[0].startswith("process 1 is lost: no heartbeat for ")
  assert messages[0].endswith("it was last at: step 7")


def test_abort_of_one_process_ends_the_others(group):
  groups, messages, exited = group(2)
  with pytest.raises(SystemExit):
    groups[1].abort(2, "process 1: the disk is full")
  for _ in range(200):
    if messages:
      break
    time.sleep(0.05)
  assert messages == ["process 1: the disk is full"]
  assert exited.is_set()
