"""Stored latents as a data source."""

import numpy as np

from get_jax.data import create_source
from get_jax.data.latents import latents_layout
from get_jax.data.random_bits import random_bits
from get_jax.storage.shards import ShardWriter


def write_latents(directory, flips=True):
  layout = latents_layout(
    6, 4, (2, 2, 4), "float16", 3, 0.5, 0.25, flips, "vae", "digits"
  )
  rows = np.random.RandomState(0).randn(6, 1 + flips, 2, 2, 4)
  rows = rows.astype(np.float16)
  writer = ShardWriter(directory, layout)
  for shard in writer.missing():
    here = list(layout.shard_range(shard))
    labels = np.int32(here) % 3
    writer.write(shard, {"moments": rows[here], "label": labels})
  return rows.astype(np.float32)


def test_latents_are_sampled_from_the_posterior(tmp_path):
  rows = write_latents(tmp_path)
  source = create_source("latents", path=tmp_path)
  assert source.image_shape == (2, 2, 2)
  means = source.read(np.arange(6))
  np.testing.assert_allclose(
    means["image"], (rows[:, 0, ..., :2] - 0.25) * 0.5, atol=1e-6
  )
  np.testing.assert_array_equal(means["label"], [0, 1, 2, 0, 1, 2])
  first, second = (
    source.read(np.zeros(4000, int), random_bits(seed, np.arange(4000)))[
      "image"
    ]
    for seed in (1, 2)
  )
  assert (first != second).all()
  mean, logvar = rows[0, ..., :2], rows[0, ..., 2:]
  expected = ((mean - 0.25) * 0.5).mean(0)
  np.testing.assert_allclose(first.mean(0), expected, atol=0.15)
  spread = 0.25 * (np.exp(logvar).mean(0) + mean.var(0))
  np.testing.assert_allclose(first.var(0), spread, rtol=0.25)


def test_another_scaling_factor_without_flips(tmp_path):
  rows = write_latents(tmp_path, flips=False)
  source = create_source("latents", path=tmp_path, scaling_factor=2.0)
  np.testing.assert_allclose(
    source.read(np.arange(6))["image"],
    (rows[:, 0, ..., :2] - 0.25) * 2,
    atol=1e-5,
  )
