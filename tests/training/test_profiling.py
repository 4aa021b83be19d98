"""Performance metrics in the metric lines, and traces of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain_objective import PlainObjective

from get_jax.data import Pipeline
from get_jax.data.sources import ArraySource
from get_jax.errors import UsageError
from get_jax.training import profiling
from get_jax.training.loop import Schedule, fit
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import (
  PERFORMANCE_KEYS,
  PerformanceMetrics,
  Profile,
)
from get_jax.training.sharding import make_mesh
from get_jax.training.state import create_state, make_init_state
from get_jax.training.step import make_train_step


@pytest.fixture
def clock(monkeypatch):
  """A clock that only advances when the test says so."""

  class Clock:
    now = 100.0

    def advance(self, seconds):
      self.now += seconds

  clock = Clock()
  monkeypatch.setattr(profiling.time, "perf_counter", lambda: clock.now)
  return clock


def test_metrics_of_an_interval(clock):
  def batches():
    for _ in range(6):
      clock.advance(1.0)
      yield None

  measured = PerformanceMetrics(
    batch_size=8, flops_per_step=10**9, peak_flops=2e9
  )
  for step, _ in enumerate(measured.time_batches(batches()), 1):
    clock.advance(3.0)
    if step % 3 == 0:
      metrics = measured.read()
      assert metrics["images_per_second"] == 3 * 8 / 12
      assert metrics["input_wait_share"] == 3 / 12
      assert metrics["model_flops_utilization"] == 3 * 1e9 / 12 / 2e9
      assert "compile_seconds" not in metrics


def test_compilation_is_reported_once_and_not_in_the_interval(clock):
  class Lowering:
    def lower(self, *args):
      clock.advance(50.0)
      return self

    def compile(self):
      clock.advance(5.0)
      return "program"

  measured = PerformanceMetrics(batch_size=4)
  for _ in measured.time_batches([None]):
    assert measured.compile(Lowering()) == "program"
    clock.advance(2.0)
  metrics = measured.read()
  assert metrics["compile_seconds"] == 55
  assert metrics["images_per_second"] == 4 / 2
  assert "model_flops_utilization" not in metrics
  clock.advance(1.0)
  assert "compile_seconds" not in measured.read()


def test_memory_of_devices_is_preferred_to_that_of_the_process(monkeypatch):
  class Device:
    def __init__(self, peak):
      self.peak = peak

    def memory_stats(self):
      return self.peak and {"peak_bytes_in_use": self.peak * 2**30}

  monkeypatch.setattr(jax, "local_devices", lambda: [Device(2), Device(3)])
  assert profiling.peak_memory() == {"device_peak_gib": 3}
  monkeypatch.setattr(jax, "local_devices", lambda: [Device(None)])
  ((name, gib),) = profiling.peak_memory().items()
  assert name == "host_peak_gib"
  assert 0.1 < gib < 100


@pytest.mark.parametrize("text", ["5", "7:6", "0:3", "a:b", "1:2:3", ""])
def test_a_profile_needs_two_ascending_steps(text):
  with pytest.raises(UsageError, match="--profile is .*such as 100:105"):
    Profile.parse(text)
  assert Profile.parse("3:5") == Profile(3, 5)


@pytest.mark.parametrize("stop", [3, 9])
def test_a_run_writes_metrics_and_a_trace(tmp_path, stop):
  """Also if the run ends before the trace."""

  def loss(params, batch, key):
    del key
    return jnp.square(params["w"] - batch["image"].mean()), {}

  mesh = make_mesh((1, 1, 1), jax.devices()[:1])
  optimizer = optax.sgd(0.1)
  make = make_init_state(lambda key: {"w": jnp.zeros(())}, (), optimizer)
  step = make_train_step(
    PlainObjective(loss),
    optimizer,
    lambda step: jnp.float32(0.5),
    jax.random.key(0),
    log_every=2,
  )
  source = ArraySource({"image": np.ones((4, 1), np.float32)}, None, "ones")
  fit(
    tmp_path,
    create_state(make, jax.random.key(0), mesh),
    step,
    Pipeline(source, 4, 0),
    mesh,
    Schedule(4, log_every=2, checkpoint_every=0),
    profile=Profile(2, stop),
  )
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
  first, last = read_metrics(tmp_path)
  training_keys = {"step", "loss", "grad_norm"}
  assert first.keys() - training_keys == {
    "images_per_second",
    "input_wait_share",
    "host_peak_gib",
    "compile_seconds",
  }
  assert first.keys() - training_keys <= set(PERFORMANCE_KEYS)
  assert last.keys() == first.keys() - {"compile_seconds"}
