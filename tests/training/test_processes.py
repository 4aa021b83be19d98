"""What processes tell each other, with threads and a dictionary for them."""

import threading
import time

import pytest

from get_jax.errors import UsageError
from get_jax.training import processes

# An end is a SystemExit in the thread that noticed.
pytestmark = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


class Store:
  """JAX's key-value store, as far as it is used."""

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
    raise AssertionError(f"nobody set {key}")


@pytest.fixture
def group(monkeypatch):
  """`start(count, stuck_after) -> (groups, ends)`, with quick hearts."""
  monkeypatch.setattr(processes, "HEARTBEAT_INTERVAL", 0.05)
  groups, ends, told = [], [], threading.Event()

  def end(code):
    ends.append(code)
    told.set()
    raise SystemExit(code)

  sentences = []
  monkeypatch.setattr(processes, "_exit", end)
  monkeypatch.setattr(processes, "_print_error", sentences.append)

  def start(count, stuck_after=900.0):
    store = Store()
    for index in range(count):
      groups.append(processes.ProcessGroup(store, index, count, stuck_after))
    return groups, sentences, told

  yield start
  for each in groups:
    each.close()


def together(groups, work):
  """The results of `work(group)`, run by all at once."""
  results = {}

  def run(each):
    results[each.index] = work(each)

  threads = [threading.Thread(target=run, args=(g,)) for g in groups]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
  return [results[each.index] for each in groups]


def test_the_first_decides_and_all_share(group):
  groups, _, _ = group(3)
  asked = []

  def work(each):
    def choose():
      asked.append(each.index)
      return {"steps": [1, 2]}

    def refuse():
      raise UsageError("no such folder")

    found = each.run_on_main(choose), each.allgather(f"word {each.index}")
    with pytest.raises(UsageError, match="no such folder"):
      each.run_on_main(refuse)
    return found

  words = ["word 0", "word 1", "word 2"]
  assert together(groups, work) == [({"steps": [1, 2]}, words)] * 3
  assert asked == [0]


def test_all_stop_at_the_same_moment(group):
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

  first, *others = together(groups, work)
  assert first is not None and first > 20
  assert others == [first] * 2


def test_apart_each_stops_at_its_next_moment(group):
  groups, _, _ = group(2)
  groups[1].request_stop()
  assert groups[1].should_stop_independently("shard 3")
  for _ in range(200):
    if groups[0].should_stop_independently("shard 2"):
      break
    time.sleep(0.05)
  else:
    raise AssertionError("it never heard")


def test_a_stuck_process_is_named_with_its_place(group):
  groups, sentences, told = group(3, stuck_after=2.0)
  for step in range(3):
    for each in groups:
      assert not each.should_stop(f"step {step}")
  for each in groups[:2]:
    each.should_stop("step 3")
  assert told.wait(60)
  assert sentences[0].startswith("process 2 is stuck: no progress for ")
  assert sentences[0].endswith("it is at: step 2")


def test_who_waits_for_a_long_work_of_one_is_not_stuck(group):
  groups, sentences, told = group(2, stuck_after=2.0)
  waiting = threading.Thread(target=groups[1].allgather, daemon=True)
  waiting.start()
  for batch in range(40):
    groups[0].should_stop_independently(f"batch {batch}")
    time.sleep(0.1)
  assert not told.is_set() and not sentences
  groups[0].allgather()
  waiting.join(60)
  assert not waiting.is_alive()


def test_a_silent_process_is_named_with_its_place(group):
  groups, sentences, told = group(2, stuck_after=1.0)
  for each in groups:
    each.should_stop("step 7")
  time.sleep(0.5)
  # Its threads end without a farewell.
  groups[1]._exchange = lambda: None
  groups[1]._closing = True
  assert told.wait(60)
  assert sentences[0].startswith("process 1 is lost: no heartbeat for ")
  assert sentences[0].endswith("it was last at: step 7")


def test_the_reason_of_one_ends_the_others(group):
  groups, sentences, told = group(2)
  with pytest.raises(SystemExit):
    groups[1].abort(2, "process 1: the disk is full")
  for _ in range(200):
    if sentences:
      break
    time.sleep(0.05)
  assert sentences == ["process 1: the disk is full"]
  assert told.is_set()
