"""Encodes a data set once, for training in latent space."""

import math
import pathlib

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from get_jax.autoencoder import posterior
from get_jax.builders.data import build_source
from get_jax.builders.decoder import build_autoencoder
from get_jax.data.latents import latents_layout
from get_jax.errors import UsageError
from get_jax.storage.shards import ShardWriter
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.training.processes import run_on_main
from get_jax.training.shard_assignment import assign_shards


def encode_latents(section, autoencoder, directory: str) -> dict:
  """Makes the shards that a directory lacks.

  Args:
    section: `config.latents`: data, dtype, flips, shard_size and batch_size.
    autoencoder: `config.autoencoder`: name, weights and dtype.
    directory: of the latents.

  Returns:
    Its manifest.
  """
  source = build_source(section)
  model, params = build_autoencoder(autoencoder)
  height, width, _ = source.image_shape
  if height % model.downsample or width % model.downsample:
    raise UsageError(
      f"latents.data has images of {height}x{width}; expected multiples of "
      f"{model.downsample}"
    )
  shape = (
    height // model.downsample,
    width // model.downsample,
    2 * model.latent_channels,
  )
  layout = latents_layout(
    len(source),
    section.shard_size,
    shape,
    section.dtype,
    source.num_classes,
    model.scaling_factor,
    model.shift_factor,
    section.flips,
    params_digest(params),
    source.fingerprint,
  )
  host = jax.process_index()
  writer = ShardWriter(pathlib.Path(directory), layout, process_index=host)
  writer.lock()
  new = run_on_main(
    lambda: sum(len(layout.shard_range(s)) for s in writer.missing())
  )
  encoder = _Encoder(model, params, section.batch_size, section.flips)
  with (
    handle_stop_signals() as stop_requested,
    assign_shards(writer.missing) as shards,
    tqdm(desc="latents", unit="image", disable=host != 0) as bar,
  ):
    bar.reset(sum(len(layout.shard_range(s)) for s in shards))
    for shard in shards:
      if stop_requested(f"latents, shard {shard}"):
        raise Stopped(f"latents stopped before shard {shard}")
      indices = np.asarray(layout.shard_range(shard))
      moments, labels = encoder.shard(source, indices, bar)
      arrays = {"moments": moments.astype(section.dtype)}
      if source.num_classes:
        arrays["label"] = labels
      writer.write(shard, arrays)
  print(f"latents: {layout.count} in {directory}, {new} of them new")
  return layout.to_json()


class _Encoder:
  """Moments of images in batches over this host's devices."""

  def __init__(self, model, params, batch_size: int, flips: bool):
    devices = jax.local_devices()
    # As many devices as share a batch evenly.
    used = devices[: math.gcd(batch_size, len(devices))]
    mesh = Mesh(np.array(used), "data")
    self._split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    self._params = jax.device_put(params, whole)
    self._batch_size = batch_size

    def moments(params, x):
      versions = [x, x[:, :, ::-1]] if flips else [x]
      found = [
        model.apply({"params": params}, v, method="encode") for v in versions
      ]
      mean, logvar = posterior.split(jnp.stack(found, axis=1))
      return jnp.concatenate([mean, logvar], axis=-1)

    self._moments = jax.jit(moments)

  def shard(self, source, indices: np.ndarray, bar):
    """Moments (n, versions, h, w, 2C) and labels (n,) or None."""
    size = self._batch_size
    parts = [indices[i : i + size] for i in range(0, len(indices), size)]
    ahead = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
    batches = grain.MapDataset.source(parts).map(source.read)
    found, labels = [], []
    for batch in batches.to_iter_dataset(ahead):
      images = batch["image"]
      count = len(images)
      padding = [(0, size - count), (0, 0), (0, 0), (0, 0)]
      padded = jax.device_put(np.pad(images, padding), self._split)
      found.append(np.asarray(self._moments(self._params, padded))[:count])
      labels.append(batch.get("label"))
      bar.update(count)
    moments = np.concatenate(found)
    if not np.isfinite(moments).all():
      raise FloatingPointError(
        f"the moments of images {indices[0]} to {indices[-1]} are not finite"
      )
    return moments, None if labels[0] is None else np.concatenate(labels)
