"""Encodes a data set once, for training in latent space."""

from collections.abc import Callable
from typing import cast

import grain
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from get_jax.autoencoder import AutoencoderKL, posterior
from get_jax.builders.data import build_source
from get_jax.builders.decoder import build_autoencoder
from get_jax.data import Source
from get_jax.data.latents import latents_layout
from get_jax.errors import UsageError
from get_jax.jobs.data_info import report_data
from get_jax.jobs.local_batches import make_batch_fn
from get_jax.jobs.missing_shards import make_missing_shards
from get_jax.storage.paths import Path
from get_jax.training.checkpoints import params_digest


def encode_latents(
  section: ml_collections.ConfigDict,
  autoencoder: ml_collections.ConfigDict,
  directory: str,
  workdir: Path | None = None,
) -> dict:
  """Encodes images into the shards that a directory of latents lacks.

  Every process encodes its own part of the shards on its own devices.

  Args:
    section: `config.latents`: data, dtype, flips, shard_size and batch_size.
    autoencoder: `config.autoencoder`: name, weights and dtype.
    directory: directory of the latents.
    workdir: folder of the run, for results/data.json; None writes none.

  Returns:
    The manifest of the directory.

  Raises:
    UsageError: the weights are missing, the image size is not a multiple of
      the downsampling factor, or the directory holds other latents.
  """
  source = build_source(section)
  if workdir is not None:
    report_data(source, workdir, "latents")
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
  encoder = _Encoder(model, params, section.batch_size, section.flips)

  def make_shard(
    indices: range, progress: Callable[[int], object]
  ) -> dict[str, np.ndarray]:
    moments, labels = encoder.encode(source, np.asarray(indices), progress)
    arrays = {"moments": moments.astype(section.dtype)}
    if source.num_classes:
      assert labels is not None
      arrays["label"] = labels
    return arrays

  new = make_missing_shards(directory, layout, make_shard, "latents", "image")
  print(f"latents: {layout.count} are in {directory}; {new} of them new")
  return layout.to_json()


class _Encoder:
  """Encodes images of a source to the moments of their latents.

  Args:
    model: the autoencoder.
    params: its parameters.
    batch_size: number of images that are encoded at once.
    flips: also encodes the horizontal flip of each image.
  """

  def __init__(
    self, model: AutoencoderKL, params: dict, batch_size: int, flips: bool
  ):
    def encode(params: dict, x: jax.Array) -> jax.Array:
      versions = [x, x[:, :, ::-1]] if flips else [x]
      moments = [
        cast(jax.Array, model.apply({"params": params}, v, method="encode"))
        for v in versions
      ]
      mean, logvar = posterior.split(jnp.stack(moments, axis=1))
      return jnp.concatenate([mean, logvar], axis=-1)

    self._batch_size = batch_size
    self._moments = make_batch_fn(encode, params, batch_size)

  def encode(
    self,
    source: Source,
    indices: np.ndarray,
    progress: Callable[[int], object],
  ) -> tuple[np.ndarray, np.ndarray | None]:
    """Encodes the images `indices` (n,) of a source.

    Returns:
      Moments (n, versions, h, w, 2C): mean and log-variance of each version of
      an image; and labels (n,), None without labels.
    """
    size = self._batch_size
    parts = [indices[i : i + size] for i in range(0, len(indices), size)]
    prefetch = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
    batches = grain.MapDataset.source(parts).map(source.read)
    moments, labels = [], []
    for batch in batches.to_iter_dataset(prefetch):
      moments.append(self._moments(batch["image"]))
      labels.append(batch.get("label"))
      progress(len(batch["image"]))
    stacked = np.concatenate(moments)
    if not np.isfinite(stacked).all():
      raise FloatingPointError(
        f"the moments of images {indices[0]} to {indices[-1]} are not finite"
      )
    return stacked, None if labels[0] is None else np.concatenate(labels)
