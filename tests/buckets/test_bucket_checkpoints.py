"""Checkpoints and metrics in a bucket keep the promises of those on disk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import (
  Checkpoints,
  latest_step,
  load_params,
  saved_steps,
)
from get_jax.training.metrics import create_writer, read_metrics
from get_jax.training.profiling import Profile, Tracer
from get_jax.training.state import TrainState
from get_jax.training.tensorboard import TensorBoardWriter


def state(step):
  # Incompressible, so that no byte of the stored arrays is without meaning.
  values = np.random.default_rng(step).standard_normal(4096)
  params = {"layer": {"kernel": jnp.asarray(values, jnp.float32)}}
  return TrainState(
    step=jnp.int32(step),
    params=params,
    ema=jax.tree.map(lambda x: 2 * x, params),
    opt_state={"mu": jax.tree.map(lambda x: 3 * x, params)},
    window={"loss": jnp.float32(step)},
    bad_step=jnp.int32(-1),
  )


@pytest.fixture
def run(bucket):
  """A workdir whose checkpoints are 2 and 3; checkpoint 1 is not kept."""
  workdir = as_path(bucket) / "run"
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    for step in (1, 2, 3):
      checkpoints.save(state(step))
  return workdir


def restore(workdir):
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    return checkpoints.restore(state(0))


def assert_equal(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_newest_checkpoint_is_restored(run):
  assert saved_steps(run) == [2, 3]
  assert_equal(restore(run), state(3))
  assert_equal(load_params(run, step=2), state(2).ema)


def test_a_damaged_checkpoint_is_moved_aside(bucket_server, run, caplog):
  prefix = f"{run.parent.name}/run/checkpoints/3/params/"
  objects = bucket_server.objects(prefix)
  largest = max(objects, key=lambda name: len(objects[name]))
  content = bytearray(objects[largest])
  content[len(content) // 2] ^= 16
  bucket_server.put(largest, bytes(content))
  assert_equal(restore(run), state(2))
  assert "Skipping damaged checkpoint 3" in caplog.text
  assert saved_steps(run) == [2]
  aside = f"{run.parent.name}/run/checkpoints/3.damaged/"
  assert len(bucket_server.objects(aside)) > len(objects)
  with Checkpoints(run / "checkpoints") as checkpoints:
    checkpoints.save(state(3))
  assert_equal(restore(run), state(3))


def test_a_checkpoint_without_its_marker_is_removed(bucket_server, run, caplog):
  prefix = f"{run.parent.name}/run/checkpoints/3/"
  bucket_server.delete(f"{prefix}commit_success.txt")
  assert latest_step(run) == 2
  assert_equal(restore(run), state(2))
  assert "Removing incomplete checkpoint 3" in caplog.text
  assert not bucket_server.objects(prefix)


@pytest.mark.parametrize("kind", [401, 403])
def test_a_bucket_that_refuses_is_no_damage(bucket_server, run, kind):
  with Checkpoints(run / "checkpoints") as checkpoints:
    with bucket_server.fault(kind, pattern="GET .*/params"):
      with pytest.raises(UsageError, match="bucket gs://test-bucket"):
        checkpoints.restore(state(0))
  assert saved_steps(run) == [2, 3]


def test_metrics_are_written_at_each_flush(run):
  writer = create_writer(run, 0)
  writer.write_scalars(1, {"loss": 0.5})
  writer.write_images(1, {"picture": np.zeros((1, 8, 8, 3), np.uint8)})
  writer.flush()
  writer.write_scalars(2, {"loss": 0.25})
  # This process is killed here: the next one begins after step 1.
  assert read_metrics(run) == [{"step": 1, "loss": 0.5}]
  events = [path for path in (run / "tensorboard").iterdir()]
  assert len(events) == 1 and events[0].stat().length > 100
  resumed = create_writer(run, 1)
  resumed.write_scalars(2, {"loss": 0.125})
  resumed.close()
  assert read_metrics(run) == [
    {"step": 1, "loss": 0.5},
    {"step": 2, "loss": 0.125},
  ]
  writer.close()


def test_each_flush_ends_a_file_of_events(run):
  writer = TensorBoardWriter(run / "tensorboard")
  for step in range(3):
    writer.write_texts(step, {"text": f"picture {step}"})
    writer.flush()
  writer.close()
  files = sorted((run / "tensorboard").iterdir())
  assert [b"picture" in path.read_bytes() for path in files] == [
    True,
    True,
    True,
    False,
  ]


def test_a_profile_is_written(run):
  tracer = Tracer(Profile(1, 1), f"{run}/profile")
  with tracer.step(1, jnp.zeros(1)):
    result = jnp.ones(2) + 1
  tracer.stop_after(1, result)
  names = [name for _, _, names in (run / "profile").walk() for name in names]
  assert any(name.endswith(".xplane.pb") for name in names)
