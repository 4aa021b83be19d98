"""The first signal requests a stop, the second stops immediately."""

import signal

import pytest

from get_jax.training.preemption import (
  Stopped,
  handle_stop_signals,
  independent_progress,
  interruptible,
)


@pytest.fixture(params=["default", "ignored"])
def sigint(request):
  """Starts the test as an interactive program, or as a job of a shell."""
  handlers = {
    "default": signal.default_int_handler,
    "ignored": signal.SIG_IGN,
  }
  before = signal.signal(signal.SIGINT, handlers[request.param])
  yield
  signal.signal(signal.SIGINT, before)


def test_the_second_signal_acts_immediately(capfd, sigint):
  before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  with (
    pytest.raises(KeyboardInterrupt),
    handle_stop_signals() as stop_requested,
  ):
    assert not stop_requested("step 1")
    signal.raise_signal(signal.SIGINT)
    assert stop_requested("step 2")
    signal.raise_signal(signal.SIGINT)
  assert (
    "SIGINT: stopping as soon as the work is saved" in capfd.readouterr().err
  )
  after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  assert after == before
  with handle_stop_signals() as stop_requested:
    assert not stop_requested("step 3")


def test_a_signal_between_two_loops_stops_the_second():
  with handle_stop_signals():
    with handle_stop_signals() as stop_requested:
      assert not stop_requested("one")
    signal.raise_signal(signal.SIGTERM)
    with handle_stop_signals() as stop_requested:
      assert stop_requested("other")


def test_interruptible_stops_after_a_signal():
  taken = []
  with pytest.raises(Stopped, match="reading after 3 batches"):
    with handle_stop_signals(), independent_progress():
      for item in interruptible(range(9), "reading"):
        taken.append(item)
        if item == 2:
          signal.raise_signal(signal.SIGTERM)
  assert taken == [0, 1, 2]
