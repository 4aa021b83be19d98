"""The first signal is a request, the second an order."""

import signal

import pytest

from get_jax.training.preemption import (
  Stopped,
  apart,
  stop_requests,
  until_stopped,
)


def test_the_first_signal_is_noted_and_the_second_acts(capfd):
  before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  with pytest.raises(KeyboardInterrupt), stop_requests() as stop_asked:
    assert not stop_asked("step 1")
    signal.raise_signal(signal.SIGINT)
    assert stop_asked("step 2")
    signal.raise_signal(signal.SIGINT)
  assert "SIGINT: stopping where nothing is lost" in capfd.readouterr().err
  after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
  assert after == before
  with stop_requests() as stop_asked:
    assert not stop_asked("step 3")


def test_a_signal_between_two_loops_stops_the_second():
  with stop_requests():
    with stop_requests() as stop_asked:
      assert not stop_asked("one")
    signal.raise_signal(signal.SIGTERM)
    with stop_requests() as stop_asked:
      assert stop_asked("other")


def test_items_end_where_a_signal_comes():
  taken = []
  with pytest.raises(Stopped, match="reading stopped after 3 batches"):
    with stop_requests(), apart():
      for item in until_stopped(range(9), "reading"):
        taken.append(item)
        if item == 2:
          signal.raise_signal(signal.SIGTERM)
  assert taken == [0, 1, 2]
