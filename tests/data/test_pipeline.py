"""Order of the records, and reading ahead."""

import numpy as np
import pytest

from get_jax.data import Pipeline, create_source
from get_jax.data.sources import ArraySource


def numbers(count):
  return ArraySource({"image": np.arange(count)}, None, "numbers")


def test_each_epoch_is_another_permutation():
  pipeline = Pipeline(numbers(10), batch_size=4, seed=3)
  order = np.concatenate([pipeline.indices(step) for step in range(5)])
  assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
  assert list(order[:10]) != list(order[10:])
  assert list(order[:10]) != list(range(10))


def test_a_step_is_a_function_of_seed_and_step():
  one, other = (Pipeline(numbers(100), 8, seed=1) for _ in range(2))
  for step in (0, 40, 3):
    np.testing.assert_array_equal(one.indices(step), other.indices(step))
  assert (Pipeline(numbers(100), 8, 2).indices(0) != one.indices(0)).any()


def test_hosts_share_a_step_without_overlap():
  whole = Pipeline(numbers(50), 12, seed=0)
  for count in (1, 2, 4):
    shares = np.split(np.arange(12), count)
    hosts = [Pipeline(numbers(50), 12, 0, rows) for rows in shares]
    for step in (0, 7):
      together = np.concatenate([h.batch(step)["image"] for h in hosts])
      np.testing.assert_array_equal(together, whole.batch(step)["image"])


def test_reading_ahead_changes_nothing():
  pipeline = Pipeline(numbers(50), 8, seed=0)
  ahead = list(pipeline.batches(3, 9))
  assert len(ahead) == 6
  for step, batch in enumerate(ahead, 3):
    np.testing.assert_array_equal(batch["image"], pipeline.batch(step)["image"])


def test_digits():
  source = create_source("digits")
  records = source.read(np.arange(len(source)))
  assert records["image"].shape == (1797, 8, 8, 1)
  assert records["image"].dtype == np.float32
  assert records["image"].min() == -1
  assert records["image"].max() == 1
  assert np.bincount(records["label"]).tolist() == [
    178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
  ]  # fmt: skip


def test_unknown_sources_and_settings_are_reported():
  with pytest.raises(ValueError, match="data.name is 'digit'; expected one of"):
    create_source("digit")
  with pytest.raises(ValueError, match="unexpected keyword argument 'size'"):
    create_source("digits", size=3)
