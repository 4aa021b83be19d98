"""Texts that images are conditioned on, as hidden states of a text encoder.

Encoding costs far more than a lookup, so it is done once. Text ids count the
texts image by image from 1. Id 0 is the empty text, which stands for "no
conditioning".
"""

import abc
import functools
import hashlib
import json
import os
from types import NoneType

import numpy as np

from get_jax.data.random_bits import randint, random_bits
from get_jax.errors import UsageError
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import Layout, read_fact, reading_manifest

FORMAT = "get_jax texts 1"
NULL_ID = 0  # id of the empty text
NO_IMAGE = -1  # image of the empty text
CAPTION_STREAM = 1  # seed of the random bits that select captions


class Texts(abc.ABC):
  """Captions of images, one or more per image, and their embeddings.

  Args:
    images: index of the image of every text except the empty one, (count,);
      ascending from 0 without a gap.
    fingerprint: identifies the content.
    encoder: identifies what made the embeddings.

  Attributes:
    shape: (L, D) of an embedding.
  """

  shape: tuple[int, int]

  def __init__(self, images: np.ndarray, fingerprint: str, encoder: str):
    self.fingerprint, self.encoder = fingerprint, encoder
    self._counts = np.bincount(images)
    self._starts = 1 + np.cumsum(self._counts) - self._counts

  @abc.abstractmethod
  def read(self, ids: np.ndarray) -> np.ndarray:
    """Returns the embeddings of texts `ids` (n,), float32 (n, L, D).

    Raises:
      UsageError: an id is out of range.
    """

  @abc.abstractmethod
  def captions(self, ids: np.ndarray) -> np.ndarray:
    """Returns the texts `ids` (n,) themselves, strings (n,)."""

  def __len__(self) -> int:
    """Returns the number of images."""
    return len(self._counts)

  @functools.cached_property
  def null(self) -> np.ndarray:
    """The embedding (L, D) of the empty text."""
    return self.read(np.array([NULL_ID]))[0]

  def ids_of_images(
    self, images: np.ndarray, bits: np.ndarray | None = None
  ) -> np.ndarray:
    """Returns the id of one text of each image, int32 (n,).

    Args:
      images: image indices (n,).
      bits: random bits (n,) that select one of an image's texts; None selects
        the first.
    """
    ids = self._starts[images]
    if bits is not None:
      # A separate stream: flips and noise use the bits themselves.
      own = random_bits(CAPTION_STREAM, bits)
      ids = ids + randint(own, self._counts[images])
    return ids.astype(np.int32)

  def ids_of_samples(self, indices: np.ndarray) -> np.ndarray:
    """Returns the id of the text that sample i is conditioned on, int32 (n,).

    It is a random text of the i-th image of a shuffled list, as in U-ViT's
    evaluation: no image is used twice before all have been used.

    Args:
      indices: sample indices (n,).
    """
    order = np.random.RandomState(0).permutation(len(self))
    images = order[indices % len(self)]
    return self.ids_of_images(images, random_bits(0, indices))

  def check(self, ids: np.ndarray) -> None:
    """Checks that texts `ids` (n,) exist.

    Raises:
      UsageError: an id is out of range.
    """
    last = int(self._counts.sum())
    invalid = ids[(ids < NULL_ID) | (ids > last)]
    if invalid.size:
      raise UsageError(
        f"text {invalid[0]} is out of range: there are texts 1 to {last}, and "
        f"the empty one, {NULL_ID}"
      )


class StoredTexts(Texts):
  """Texts in a directory that `get_jax.jobs.captions` wrote.

  Args:
    path: the directory.
    verify: compares the checksums of all shards first.

  Raises:
    UsageError: the directory holds no texts, or shards are missing or damaged.
  """

  def __init__(self, path: str | os.PathLike[str], verify: bool = True):
    hint = "run the command that made it again: it makes the missing shards"
    self._reader = ShardReader(path, FORMAT, hint, verify)
    layout = self._reader.layout
    with reading_manifest(path):
      length, width = layout.arrays["embedding"][1]
      self.shape = (length, width)
      self.data = read_fact(layout, "data", str, NoneType)
      encoder = read_fact(layout, "encoder", str)
      images = self._reader.column("image")[1:]
      super().__init__(images, layout.fingerprint, encoder)

  def read(self, ids: np.ndarray) -> np.ndarray:
    """See `Texts.read`."""
    self.check(ids)
    return self._reader.read(ids)["embedding"].astype(np.float32)

  def captions(self, ids: np.ndarray) -> np.ndarray:
    """See `Texts.captions`."""
    encoded = self._reader.column("caption")[ids]
    return np.array([caption.decode() for caption in encoded], np.str_)


class SyntheticTexts(Texts):
  """Seeded noise in place of texts, two per image, to try a configuration.

  Args:
    size: number of images.
    shape: (L, D) of an embedding.
  """

  def __init__(self, size: int, shape: tuple[int, int]):
    name = f"synthetic-{size}x{shape[0]}x{shape[1]}"
    super().__init__(np.arange(size).repeat(2), name, "synthetic")
    self.shape = (shape[0], shape[1])

  def read(self, ids: np.ndarray) -> np.ndarray:
    """See `Texts.read`; the empty text is zeros."""
    self.check(ids)
    rows = np.zeros((len(ids), *self.shape), np.float32)
    for row, text_id in zip(rows, ids.tolist(), strict=True):
      if text_id != NULL_ID:
        rng = np.random.RandomState(text_id)
        row[...] = rng.standard_normal(self.shape)
    return rows

  def captions(self, ids: np.ndarray) -> np.ndarray:
    """See `Texts.captions`."""
    return np.array([f"text {i}" if i else "" for i in ids], np.str_)


def texts_layout(
  captions: list[bytes],
  shard_size: int,
  shape: tuple[int, int],
  dtype: str,
  encoder: str,
  data: str | None,
) -> Layout:
  """Returns the layout of a directory of texts: the empty one, then captions.

  Args:
    captions: the texts in UTF-8, in the order of their ids.
    shard_size: texts per shard.
    shape: (L, D) of an embedding.
    dtype: "float16" or "float32".
    encoder: digest of the encoder's parameters.
    data: fingerprint of the images' source; None for texts without images.
  """
  width = max(1, *map(len, captions))
  arrays: dict[str, tuple[str, tuple[int, ...]]] = {
    "embedding": (dtype, tuple(shape)),
    "image": ("int32", ()),
    "caption": (f"S{width}", ()),
  }
  digest = hashlib.sha256(json.dumps([c.decode() for c in captions]).encode())
  facts = dict(encoder=encoder, data=data, captions=digest.hexdigest())
  return Layout(FORMAT, 1 + len(captions), shard_size, arrays, facts)
