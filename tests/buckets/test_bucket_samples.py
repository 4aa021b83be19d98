"""Samples are generated and merged in a bucket as on disk."""

import io
import threading

import numpy as np
import pytest

from get_jax.jobs import samples
from get_jax.storage.paths import Path
from get_jax.training import preemption
from get_jax.training.preemption import Stopped
from tests.helpers import tiny_config
from tests.noise_generator import GENERATOR


def test_samples_in_a_bucket_are_those_on_disk(bucket, tmp_path, monkeypatch):
  config = tiny_config(sampling__count=20, sampling__batch_size=8)
  params = {"w": np.zeros(2, np.float32)}
  files, read = {}, samples.ShardReader.read_array
  threads = set(threading.enumerate())

  def stop(self, shard, name):
    if (shard, name) == (1, "image"):
      preemption._received.append(15)
    return read(self, shard, name)

  for folder in (Path(tmp_path / "samples"), Path(bucket) / "samples"):
    parts = samples.generate_parts(config, folder, params, GENERATOR, False, {})
    path = folder / "samples.npz"
    with monkeypatch.context() as patch:
      patch.setattr(samples.ShardReader, "read_array", stop)
      with pytest.raises(Stopped):
        samples.merge_parts(parts, path, GENERATOR)
    assert not path.exists()
    samples.merge_parts(parts, path, GENERATOR)
    # A lease of the removed directory would be lost.
    assert not {t for t in threading.enumerate() if t.name == "lease"} - threads
    assert sorted(p.name for p in folder.iterdir()) == [
      "samples.npz",
      "samples.png",
    ]
    with np.load(io.BytesIO(path.read_bytes())) as file:
      found = dict(file)
    files[folder] = found, (folder / "samples.png").read_bytes()
  (disk, disk_grid), (remote, grid) = files.values()
  assert disk["arr_0"].shape == (20, *GENERATOR.image_shape)
  for name in ("arr_0", "arr_1"):
    np.testing.assert_array_equal(remote[name], disk[name])
  assert grid == disk_grid
