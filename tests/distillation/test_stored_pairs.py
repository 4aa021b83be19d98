"""Storage of noise/image pairs, and the check of their noise."""

import dataclasses

import jax
import numpy as np
import pytest

from get_jax.distillation.pairs import (
  PairsInfo,
  PairsSource,
  PairsWriter,
  check_noise,
  noise_digest,
)

INFO = PairsInfo(
  count=10,
  seed=3,
  image_shape=(2, 2, 1),
  dtype="float16",
  num_classes=4,
  teacher="abc",
  sampler={"name": "heun", "num_steps": 18},
  shard_size=4,
)
IMAGES = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 2, 2, 1)
LABELS = np.arange(10, dtype=np.int32) % 4


def write(directory, info=INFO, shards=None):
  writer = PairsWriter(directory, info)
  for shard in writer.missing() if shards is None else shards:
    indices = np.asarray(info.shard_range(shard))
    writer.write_pairs(shard, IMAGES[indices], LABELS[indices])
  return writer


def test_written_pairs_are_read_back(tmp_path):
  assert write(tmp_path).missing() == []
  source = PairsSource(tmp_path)
  assert source.info == INFO
  indices = np.array([9, 0, 5, 4])
  records = source.read(indices)
  np.testing.assert_array_equal(records["index"], indices)
  np.testing.assert_array_equal(records["label"], LABELS[indices])
  np.testing.assert_allclose(records["image"], IMAGES[indices], atol=5e-4)
  assert records["image"].dtype == np.float32


def test_pixels_survive_uint8(tmp_path):
  pixels = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
  info = dataclasses.replace(INFO, dtype="uint8", shard_size=10)
  PairsWriter(tmp_path, info).write_pairs(0, pixels / 127.5 - 1, LABELS)
  read = PairsSource(tmp_path).read(np.arange(10))["image"]
  np.testing.assert_array_equal(np.round((read + 1) * 127.5), pixels)


def test_size_of_a_million_pairs_of_cifar10(tmp_path):
  info = dataclasses.replace(
    INFO, count=2_000, image_shape=(32, 32, 3), dtype="uint8", shard_size=1_000
  )
  writer = PairsWriter(tmp_path, info)
  for shard in writer.missing():
    writer.write_pairs(
      shard, np.zeros((1_000, 32, 32, 3)), np.zeros(1_000, int)
    )
  size = sum(path.stat().st_size for path in tmp_path.iterdir())
  assert size / info.count * 1e6 <= 3.3e9


def test_missing_lists_missing_shards_only(tmp_path):
  writer = write(tmp_path, shards=[1])
  assert writer.missing() == [0, 2]
  with pytest.raises(ValueError, match="lacks shard 0 of 3"):
    PairsSource(tmp_path)


def test_pairs_with_other_settings_are_refused(tmp_path):
  write(tmp_path)
  other = dataclasses.replace(INFO, teacher="xyz")
  with pytest.raises(ValueError, match="teacher is 'abc', expected 'xyz'"):
    PairsWriter(tmp_path, other)


def test_a_truncated_shard_is_reported(tmp_path):
  write(tmp_path)
  path = tmp_path / "00001.image.npy"
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(ValueError, match=r"00001\.image\.npy cannot be read"):
    PairsSource(tmp_path)


def test_a_folder_without_pairs_is_refused(tmp_path):
  with pytest.raises(ValueError, match="holds no pairs"):
    PairsSource(tmp_path)


def test_pairs_without_seed_store_their_noise(tmp_path):
  info = dataclasses.replace(INFO, seed=None)
  noise = np.random.RandomState(0).randn(10, 2, 2, 1).astype(np.float32)
  writer = PairsWriter(tmp_path, info)
  for shard in writer.missing():
    indices = np.asarray(info.shard_range(shard))
    writer.write_pairs(shard, IMAGES[indices], LABELS[indices], noise[indices])
  found = PairsSource(tmp_path).read(np.array([7, 2]))["noise"]
  np.testing.assert_array_equal(found, noise[[7, 2]])


def test_noise_that_differs_from_the_teachers_is_refused():
  key, shape = jax.random.key(3), INFO.image_shape
  info = dataclasses.replace(INFO, noise=noise_digest(key, shape))
  check_noise(info, key)
  with pytest.raises(ValueError, match="generates other noise than the one"):
    check_noise(info, jax.random.key(4))
