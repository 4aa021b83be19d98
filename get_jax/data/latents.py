"""Latents on disk: the autoencoder's moments of every image and its mirror.

Encoding costs more than training a small network, so it is done once
(`--mode=latents`). What is stored are mean and log-variance: training draws
another sample of the posterior each time, as DiT and U-ViT do.
"""

import hashlib
import json
import os

import numpy as np

from get_jax.autoencoder import posterior
from get_jax.data.draws import coin, normal
from get_jax.data.texts import StoredTexts
from get_jax.errors import UsageError
from get_jax.storage.shards import Layout, ShardReader

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
  """What a directory of latents holds.

  Args:
    count: number of images.
    shard_size: images per shard.
    moments_shape: (h, w, 2C).
    dtype: "float16" or "float32".
    num_classes: None where unlabelled.
    scaling_factor: of the autoencoder.
    shift_factor: of the autoencoder.
    flips: whether the moments of the mirrored images are there too.
    autoencoder: digest of its parameters.
    data: fingerprint of the images' source.
  """
  arrays = {"moments": (dtype, (1 + flips, *moments_shape))}
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
  """Stored latents as a source: "image" is a scaled sample of the posterior.

  Each record's noise and flip come from its draw; without draws it is the
  posterior's mean of the image as it is.

  Args:
    path: the directory.
    flip: takes the mirrored image's moments half of the time; None does where
      they are stored.
    scaling_factor: in place of the autoencoder's, as U-ViT's 0.23010 for
      MS-COCO; decode with the same.
    verify: compares the checksums of all shards first.

  Raises:
    UsageError: there are no latents, or not all of them.
  """

  def __init__(
    self,
    path: str | os.PathLike[str],
    flip: bool | None = None,
    scaling_factor: float | None = None,
    verify: bool = True,
  ):
    remake = "run --mode=latents to make what is missing"
    self._reader = ShardReader(path, FORMAT, remake, verify)
    layout = self._reader.layout
    versions, height, width, channels = layout.arrays["moments"][1]
    self.flip = versions == 2 if flip is None else flip and versions == 2
    self.image_shape = (height, width, channels // 2)
    facts = layout.facts
    self.num_classes = facts["num_classes"]
    self.scaling_factor = scaling_factor or facts["scaling_factor"]
    self.shift_factor = facts["shift_factor"]
    content = json.dumps([layout.to_json(), self.scaling_factor, self.flip])
    self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

  def __len__(self) -> int:
    return len(self._reader)

  def read(
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,), sampled by `draws` (n,)."""
    records = self._reader.read(indices)
    versions = records.pop("moments")
    chosen = np.zeros(len(indices), int)
    if self.flip and draws is not None:
      chosen = coin(draws).astype(int)
    moments = versions[np.arange(len(indices)), chosen].astype(np.float32)
    z, logvar = np.split(moments, 2, axis=-1)
    if draws is not None:
      logvar = np.clip(logvar, *posterior.LOGVAR_RANGE)
      z = z + np.exp(logvar / 2) * normal(draws, self.image_shape)
    scaled = (z - self.shift_factor) * self.scaling_factor
    return {"image": scaled.astype(np.float32), **records}


class CaptionedLatents(LatentsSource):
  """Stored latents with a text each: "label" is a caption's embedding.

  Images with several captions are given one of them by their draw, another
  each time; the first without draws.

  Args:
    path: the directory of the latents.
    captions: the directory of their captions' embeddings.
    flip: see `LatentsSource`.
    scaling_factor: see there.
    verify: see there; of both directories.

  Raises:
    UsageError: something is missing, or the captions are of other images.
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
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,), sampled and captioned by `draws` (n,)."""
    records = super().read(indices, draws)
    numbers = self.texts.pick(indices, draws)
    return records | {"label": self.texts.read(numbers)}
