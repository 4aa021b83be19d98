"""Samples are merged into one file without being in memory together."""

import dataclasses
import gc
import tracemalloc
import weakref

import jax
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.evaluation import to_uint8
from get_jax.generation.conditioning import Unconditional
from get_jax.jobs import samples
from get_jax.storage import shard_reader
from get_jax.storage.paths import Path
from get_jax.storage.shards import ShardWriter
from get_jax.training import preemption
from get_jax.training.preemption import Stopped
from tests.helpers import tiny_config
from tests.noise_generator import GENERATOR

SHAPE = GENERATOR.image_shape
BATCH = 8
BATCH_BYTES = BATCH * 64 * 64 * 3
UNCONDITIONAL = dataclasses.replace(GENERATOR, conditioning=Unconditional())


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
  monkeypatch.setattr(samples, "GRID_SIZE", 5)


def generate(folder, count, latent=False, generator=GENERATOR):
  config = tiny_config(sampling__count=count, sampling__batch_size=BATCH)
  params = {"w": np.zeros(2, np.float32)}
  return samples.generate_parts(
    config, Path(folder), params, generator, latent, {}
  )


def merge(parts, generator=GENERATOR):
  path = Path(parts.directory).parent / "samples.npz"
  samples.merge_parts(parts, path, generator)
  return path


def stored(parts, name):
  """Returns an array of all batches, read whole."""
  files = sorted(parts.directory.glob(f"*.{name}.npy"))
  return np.concatenate([np.load(file) for file in files])


@pytest.mark.parametrize("latent", [False, True])
def test_the_file_is_that_of_savez(tmp_path, latent):
  parts = generate(tmp_path / "samples", 2 * BATCH + 3, latent)
  images, labels = stored(parts, "image"), stored(parts, "chosen")
  assert images.dtype == (np.float32 if latent else np.uint8)
  assert images.shape == (2 * BATCH + 3, *SHAPE)
  path = merge(parts)
  np.savez(tmp_path / "expected.npz", images, labels)
  assert path.read_bytes() == (tmp_path / "expected.npz").read_bytes()
  left = sorted(file.name for file in path.parent.iterdir())
  assert left == ["samples.npz", "samples.png"]


def test_unconditional_samples_have_no_labels(tmp_path):
  parts = generate(tmp_path, BATCH, generator=UNCONDITIONAL)
  images = stored(parts, "image")
  with np.load(merge(parts, UNCONDITIONAL)) as file:
    assert file.files == ["arr_0"]
    np.testing.assert_array_equal(file["arr_0"], images)


def test_the_grid_shows_the_first_samples(tmp_path, monkeypatch):
  grids = []
  monkeypatch.setattr(samples, "save_grid", lambda *grid: grids.append(grid))
  monkeypatch.setattr(samples, "GRID_SIZE", BATCH + 3)
  parts = generate(tmp_path, 3 * BATCH)
  images, labels = stored(parts, "image"), stored(parts, "chosen")
  path = merge(parts)
  ((grid_path, shown, names),) = grids
  assert grid_path == path.with_suffix(".png")
  np.testing.assert_array_equal(shown, images[: BATCH + 3])
  np.testing.assert_array_equal(names, labels[: BATCH + 3])


def test_memory_does_not_grow_with_the_count(tmp_path, monkeypatch):
  """Neither while samples are generated nor while they are merged."""
  alive, most_pixels, most_floats = [], [], []

  def quantized(images, offset):
    pixels = to_uint8(images, offset)
    alive.append(weakref.ref(pixels))
    return pixels

  def write(self, shard, records):
    most_pixels[-1] = max(most_pixels[-1], sum(r() is not None for r in alive))
    floats = sum(x.nbytes for x in jax.live_arrays() if x.dtype == np.float32)
    most_floats[-1] = max(most_floats[-1], floats)
    write_shard(self, shard, records)

  write_shard = ShardWriter.write
  monkeypatch.setattr(samples, "to_uint8", quantized)
  monkeypatch.setattr(ShardWriter, "write", write)
  peaks = []
  for batches in (8, 64):
    most_pixels.append(0)
    most_floats.append(0)
    parts = generate(tmp_path / str(batches), batches * BATCH)
    gc.collect()
    tracemalloc.start()
    with np.load(merge(parts), mmap_mode=None) as file:
      peaks.append(tracemalloc.get_traced_memory()[1])
      assert len(file["arr_0"]) == batches * BATCH
    tracemalloc.stop()
  assert most_pixels[0] == most_pixels[1] <= 2
  assert abs(most_floats[1] - most_floats[0]) < 4 * BATCH_BYTES
  # The file of the second is larger by 56 batches.
  assert abs(peaks[1] - peaks[0]) < 4 * BATCH_BYTES


def test_an_interrupted_merge_is_continued(tmp_path, monkeypatch):
  parts = generate(tmp_path, 3 * BATCH)
  images = stored(parts, "image")
  (tmp_path / "samples.npz").write_bytes(b"of an earlier run")
  read = shard_reader.ShardReader.read_array

  def stop(self, shard, name):
    if (shard, name) == (1, "image"):
      preemption._received.append(15)
    return read(self, shard, name)

  with monkeypatch.context() as patch:
    patch.setattr(shard_reader.ShardReader, "read_array", stop)
    with pytest.raises(Stopped, match=r"writing samples\.npz after 2"):
      merge(parts)
  assert (tmp_path / "samples.npz").read_bytes() == b"of an earlier run"
  assert not list(tmp_path.glob(".*"))
  monkeypatch.setattr(
    samples, "ImageSampler", lambda *args: pytest.fail("nothing is missing")
  )
  with np.load(merge(parts)) as file:
    np.testing.assert_array_equal(file["arr_0"], images)


def test_a_killed_merge_leaves_no_file_behind(tmp_path):
  parts = generate(tmp_path, BATCH)
  (tmp_path / ".samples.npz.12345.tmp").write_bytes(b"unfinished")
  merge(parts)
  assert not list(tmp_path.glob(".*"))


def test_a_damaged_batch_is_reported(tmp_path):
  parts = generate(tmp_path, 2 * BATCH)
  file = parts.directory / "00001.image.npy"
  content = bytearray(file.read_bytes())
  content[-1] ^= 1
  file.write_bytes(content)
  with pytest.raises(UsageError, match=r"00001\.image\.npy is damaged.*delete"):
    merge(parts)
  assert not (tmp_path / "samples.npz").exists()
  file.unlink()
  del parts  # and its lock
  parts = generate(tmp_path, 2 * BATCH)
  images = stored(parts, "image")
  with np.load(merge(parts)) as found:
    np.testing.assert_array_equal(found["arr_0"], images)


def test_the_batches_are_locked_until_they_are_merged(tmp_path):
  parts = generate(tmp_path, BATCH)
  with pytest.raises(UsageError, match="another process is writing to"):
    generate(tmp_path, BATCH)
  merge(parts)


def test_a_full_disk_keeps_the_batches(tmp_path, monkeypatch):
  parts = generate(tmp_path, BATCH)

  def fail(file, arrays):
    file.write(b"0")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(samples, "write_npz", fail)
  expected = r"samples\.npz cannot be written \(No space left on device\); the"
  with pytest.raises(UsageError, match=expected):
    merge(parts)
  assert not list(tmp_path.glob("*samples.npz*"))
  assert stored(parts, "image").shape == (BATCH, *SHAPE)
