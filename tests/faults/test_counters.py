"""Counters near the end of 32 bits are carried or refused, and never wrap."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from get_jax.builders.config_check import check_config
from get_jax.data import Pipeline, create_source
from get_jax.diffusion.noise import SampleNoise
from get_jax.distillation.pairs import PairsInfo
from get_jax.errors import UsageError
from get_jax.training.checkpoints import saved_steps
from get_jax.training.loop import Schedule, fit
from get_jax.training.metrics import read_metrics
from get_jax.training.rng import named_key
from get_jax.training.sharding import make_mesh
from get_jax.training.state import create_state, make_init_state
from get_jax.training.step import make_train_step
from tests.helpers import tiny_config
from tests.plain_objective import PlainObjective

LAST = 2**31 - 1  # of int32


@pytest.mark.parametrize(
  ("key", "value", "sentence"),
  [
    ("num_steps", LAST + 1, "num_steps is 2147483648; expected at most 21474"),
    ("log_every", 10**12, "log_every is 1000000000000; expected at most 21474"),
    ("sampling.count", 2**32, "sampling.count is 4294967296; expected at most"),
    ("model.depth", -(2**40), "model.depth is -1099511627776; expected at m"),
    ("seed", 2**32, "seed is 4294967296; expected .* below 4294967296"),
  ],
)
def test_a_config_has_no_larger_counters(key, value, sentence):
  config = tiny_config()
  config.update_from_flattened_dict({key: value})
  with pytest.raises(UsageError, match=sentence):
    check_config(config)


def test_the_largest_counters_are_allowed():
  check_config(tiny_config(num_steps=LAST, seed=2**32 - 1))


def synthetic():
  return create_source(
    "synthetic", image_size=2, channels=1, num_classes=3, size=7
  )


def train(workdir, stop):
  """Trains from four steps before the last one to `stop`."""
  pipeline = Pipeline(synthetic(), 8, seed=2**32 - 1, threads=1)
  mesh = make_mesh((1, 1, 1), jax.devices()[:1])
  optimizer = optax.adamw(optax.cosine_decay_schedule(1e-3, LAST))
  make = make_init_state(lambda key: {"w": jnp.zeros(())}, (), optimizer)

  def loss(params, batch, key):
    target = batch["image"].mean() + jax.random.normal(key)
    return (params["w"] - target) ** 2, {}

  step = make_train_step(
    PlainObjective(loss),
    optimizer,
    lambda step: 1 / (1.0 + step.astype(jnp.float32)),
    named_key(2**32 - 1, "step"),
    log_every=2,
  )
  state = create_state(make, jax.random.key(0), mesh)
  # The counts of the optimizer are as far.
  state = jax.tree.map(
    lambda x: x + (LAST - 4) if x.dtype == jnp.int32 else x, state
  ).replace(bad_step=state.bad_step)
  return fit(workdir, state, step, pipeline, mesh, Schedule(stop, 1, 2))


def test_the_last_steps_of_the_longest_run(tmp_path):
  whole = train(tmp_path / "whole", LAST)
  train(tmp_path / "stopped", LAST - 2)
  state = train(tmp_path / "stopped", LAST)
  assert int(state.step) == LAST
  assert int(state.bad_step) == -1
  assert saved_steps(tmp_path / "stopped") == [LAST - 1, LAST]
  lines, expected = (
    read_metrics(tmp_path / name) for name in ("stopped", "whole")
  )
  assert [line["step"] for line in lines] == [*range(LAST - 3, LAST + 1)]
  losses = [line["loss"] for line in lines]
  assert losses == [line["loss"] for line in expected]
  assert len({*losses}) == 4
  assert state.params["w"] == whole.params["w"]
  assert np.isfinite(state.ema["w"])


def test_batches_of_late_steps_follow_the_same_rule():
  pipeline = Pipeline(synthetic(), 64, seed=0)
  for step in (LAST - 1, LAST):
    positions = step * 64 + np.arange(64)
    assert positions[0] // 7 > 2**32  # epochs
    indices = pipeline.indices(step)
    whole = indices[7 - positions[0] % 7 :][:49].reshape(7, 7)
    np.testing.assert_array_equal(np.sort(whole), 7 * [[*range(7)]])
    assert len(np.unique(whole, axis=0)) > 1
  assert len([*pipeline.batches(LAST - 2, LAST)]) == 2


def test_samples_do_not_repeat():
  indices = np.array([0, LAST, LAST + 1, 2**32 - 1])
  noise = np.asarray(SampleNoise.create(jax.random.key(0), indices)(0, (2,)))
  assert len(np.unique(noise[:, 0])) == 4


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_do_not_repeat(seed):
  with pytest.raises(UsageError, match=f"the seed is {seed}; expected"):
    named_key(seed, "sample")


def test_pairs_are_as_many_as_their_indices():
  settings = (0, (2, 2, 1), "uint8", None, "t", {}, 4)
  assert PairsInfo(LAST, *settings).layout.num_shards == 2**29
  with pytest.raises(UsageError, match="there are 2147483648 pairs; expected"):
    PairsInfo(LAST + 1, *settings)
