"""Latents on disk: an autoencoder's moments of each image and its mirror.

Encoding costs more than training a small network, so it is done once
(`--mode=latents`). Mean and log-variance are stored; training samples the
posterior anew each time, as DiT and U-ViT do.
"""

import hashlib
import json
import os
from types import NoneType

import numpy as np

from get_jax.autoencoder import posterior
from get_jax.data.random_bits import bernoulli, normal
from get_jax.data.texts import StoredTexts
from get_jax.errors import UsageError
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import Layout, read_fact, reading_manifest

FORMAT = "get_jax latents 1"


def latents_layout(
  count: int,
  shard_size: int,
  moments_shape: tuple[int, int, int],
  dtype: str,
  num_classes: int | None,
  scaling_factor: float,
  shift_factor: float,
  flips: bool,
  autoencoder: str,
  data: str,
) -> Layout:
  """Returns the layout of a directory of latents.

  Args:
    count: number of images.
    shard_size: images per shard.
    moments_shape: (h, w, 2C).
    dtype: "float16" or "float32".
    num_classes: number of classes; None or 0 without labels.
    scaling_factor: scaling factor of the autoencoder.
    shift_factor: shift factor of the autoencoder.
    flips: whether the moments of the mirrored images are stored too.
    autoencoder: digest of the autoencoder's parameters.
    data: fingerprint of the images' source.
  """
  arrays: dict[str, tuple[str, tuple[int, ...]]] = {
    "moments": (dtype, (1 + flips, *moments_shape))
  }
  if num_classes:
    arrays["label"] = ("int32", ())
  facts = dict(
    num_classes=num_classes,
    scaling_factor=scaling_factor,
    shift_factor=shift_factor,
    autoencoder=autoencoder,
    data=data,
  )
  return Layout(FORMAT, count, shard_size, arrays, facts)


class LatentsSource:
  """Stored latents as a source: "image" is a scaled posterior sample.

  Random bits decide a record's noise and flip. Without them "image" is the
  scaled posterior mean of the unmirrored image.

  Args:
    path: directory of the latents.
    flip: uses the moments of the mirrored image with probability 1/2; None
      does so if they are stored.
    scaling_factor: replaces that of the autoencoder, such as U-ViT's 0.23010
      for MS-COCO; decode with the same factor.
    verify: compares the checksums of all shards first.

  Raises:
    UsageError: the directory holds no latents, or shards are missing or
      damaged.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    flip: bool | None = None,
    scaling_factor: float | None = None,
    verify: bool = True,
  ):
    hint = "run --mode=latents to make the missing shards"
    self._reader = ShardReader(path, FORMAT, hint, verify)
    layout = self._reader.layout
    with reading_manifest(path):
      versions, height, width, channels = layout.arrays["moments"][1]
      if versions not in (1, 2) or channels % 2:
        raise ValueError(f"moments has the shape {layout.arrays['moments'][1]}")
      self.num_classes: int | None = read_fact(
        layout, "num_classes", int, NoneType
      )
      factor: float = read_fact(layout, "scaling_factor", float, int)
      self.shift_factor: float = read_fact(layout, "shift_factor", float, int)
    self.scaling_factor = scaling_factor or factor
    self.flip = versions == 2 if flip is None else flip and versions == 2
    self.image_shape = (height, width, channels // 2)
    content = json.dumps([layout.to_json(), self.scaling_factor, self.flip])
    self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

  def __len__(self) -> int:
    return len(self._reader)

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the records at `indices` (n,); see `Source.read`.

    `bits` (n,) decide the flips and the posterior samples.
    """
    records = self._reader.read(indices)
    versions = records.pop("moments")
    flipped = np.zeros(len(indices), int)
    if self.flip and bits is not None:
      flipped = bernoulli(bits).astype(int)
    moments = versions[np.arange(len(indices)), flipped].astype(np.float32)
    z, logvar = np.split(moments, 2, axis=-1)
    if bits is not None:
      logvar = np.clip(logvar, *posterior.LOGVAR_RANGE)
      z = z + np.exp(logvar / 2) * normal(bits, self.image_shape)
    scaled = (z - self.shift_factor) * self.scaling_factor
    return {"image": scaled.astype(np.float32), **records}


class CaptionedLatents(LatentsSource):
  """Stored latents with texts: "label" is the embedding of a caption.

  For an image with several captions the random bits select one, anew each
  time. Without them it is the first.

  Args:
    path: directory of the latents.
    captions: directory of the embeddings of their captions.
    flip: see `LatentsSource`.
    scaling_factor: see `LatentsSource`.
    verify: see `LatentsSource`; applies to both directories.

  Raises:
    UsageError: a directory is incomplete or damaged, or the captions are those
      of other images.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    captions: str | os.PathLike[str],
    flip: bool | None = None,
    scaling_factor: float | None = None,
    verify: bool = True,
  ):
    super().__init__(path, flip, scaling_factor, verify)
    self.texts = StoredTexts(captions, verify)
    data = self._reader.layout.facts["data"]
    if (self.texts.data, len(self.texts)) != (data, len(self)):
      raise UsageError(
        f"{captions} has the captions of {len(self.texts)} images "
        f"({self.texts.data!r}); {path} has the latents of {len(self)} "
        f"({data!r})"
      )
    self.num_classes = None
    content = self.fingerprint + self.texts.fingerprint
    self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the records at `indices` (n,); see `Source.read`.

    `bits` (n,) decide the flips, the posterior samples and the captions.
    """
    records = super().read(indices, bits)
    ids = self.texts.ids_of_images(indices, bits)
    return records | {"label": self.texts.read(ids)}
