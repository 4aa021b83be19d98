"""Texts that images are conditioned on, as a text encoder's hidden states.

Encoding costs far more than looking up, so it is done once. Texts are numbered
image by image; number 0 is the empty text, which stands for "no condition".
"""

import abc
import functools
import hashlib
import json
import os

import numpy as np

from get_jax.data.draws import choice, draws
from get_jax.errors import UsageError
from get_jax.storage.shards import Layout, ShardReader

FORMAT = "get_jax texts 1"
NULL = 0  # number of the empty text
NO_IMAGE = -1  # whose it is
CAPTION = 1  # stream of a record's random bits


class Texts(abc.ABC):
  """The captions of images, one or more each, and their embeddings.

  Args:
    images: the image of every text but the empty one, ascending from 0
      without a gap, (count,).
    fingerprint: names the content.
    encoder: names what made the embeddings.

  Attributes:
    shape: (L, D) of an embedding.
  """

  shape: tuple[int, int]

  def __init__(self, images: np.ndarray, fingerprint: str, encoder: str):
    self.fingerprint, self.encoder = fingerprint, encoder
    self._counts = np.bincount(images)
    self._starts = 1 + np.cumsum(self._counts) - self._counts

  @abc.abstractmethod
  def read(self, numbers: np.ndarray) -> np.ndarray:
    """Embeddings (n, L, D) float32 of the texts `numbers` (n,).

    Raises:
      UsageError: there is no such text.
    """

  @abc.abstractmethod
  def captions(self, numbers: np.ndarray) -> np.ndarray:
    """The texts themselves, strings (n,)."""

  def __len__(self) -> int:
    """Number of images."""
    return len(self._counts)

  @functools.cached_property
  def null(self) -> np.ndarray:
    """The embedding (L, D) of the empty text."""
    return self.read(np.array([NULL]))[0]

  def pick(
    self, images: np.ndarray, words: np.ndarray | None = None
  ) -> np.ndarray:
    """The number of a text of each of the images (n,), int32.

    Args:
      images: their indices.
      words: random bits (n,) that choose; the first text without them.
    """
    numbers = self._starts[images]
    if words is not None:
      # Bits of their own: flips and noise are taken from the words as well.
      own = draws(CAPTION, words)
      numbers = numbers + choice(own, self._counts[images])
    return numbers.astype(np.int32)

  def chosen(self, indices: np.ndarray) -> np.ndarray:
    """The number of the text that sample i shows, int32 (n,).

    It is a random text of the image at place i of a shuffled list, as U-ViT
    evaluates: no image comes twice before all have come.
    """
    order = np.random.RandomState(0).permutation(len(self))
    return self.pick(order[indices % len(self)], draws(0, indices))

  def check(self, numbers: np.ndarray) -> None:
    """Raises a UsageError unless the texts `numbers` are there."""
    last = int(self._counts.sum())
    wrong = numbers[(numbers < NULL) | (numbers > last)]
    if wrong.size:
      raise UsageError(
        f"text {wrong[0]} is out of range: there are texts 1 to {last}, and "
        f"the empty one, {NULL}"
      )


class StoredTexts(Texts):
  """A directory that `get_jax.jobs.captions` made.

  Args:
    path: the directory.
    verify: compares the checksums of all shards first.

  Raises:
    UsageError: there are no texts, or not all of them.
  """

  def __init__(self, path: str | os.PathLike[str], verify: bool = True):
    remake = "run the command that made it again: it makes what is missing"
    self._reader = ShardReader(path, FORMAT, remake, verify)
    layout = self._reader.layout
    self.shape = layout.arrays["embedding"][1]
    self.data = layout.facts["data"]
    content = json.dumps(layout.to_json(), sort_keys=True)
    super().__init__(
      self._reader.column("image")[1:],
      hashlib.sha256(content.encode()).hexdigest(),
      layout.facts["encoder"],
    )

  def read(self, numbers):
    """See `Texts.read`."""
    self.check(numbers)
    return self._reader.read(numbers)["embedding"].astype(np.float32)

  def captions(self, numbers):
    """See `Texts.captions`."""
    found = self._reader.column("caption")[numbers]
    return np.array([caption.decode() for caption in found], np.str_)


class SyntheticTexts(Texts):
  """Seeded noise for texts, two an image, to try a configuration."""

  def __init__(self, size: int, shape: tuple[int, int]):
    name = f"synthetic-{size}x{shape[0]}x{shape[1]}"
    super().__init__(np.arange(size).repeat(2), name, "synthetic")
    self.shape = tuple(shape)

  def read(self, numbers):
    """See `Texts.read`; the empty text is zeros."""
    self.check(numbers)
    rows = np.zeros((len(numbers), *self.shape), np.float32)
    for row, number in zip(rows, numbers.tolist(), strict=True):
      if number != NULL:
        rng = np.random.RandomState(number)
        row[...] = rng.standard_normal(self.shape)
    return rows

  def captions(self, numbers):
    """See `Texts.captions`."""
    return np.array([f"text {n}" if n else "" for n in numbers], np.str_)


def texts_layout(
  captions: list[bytes],
  shard_size: int,
  shape: tuple[int, int],
  dtype: str,
  encoder: str,
  data: str | None,
) -> Layout:
  """What a directory of texts holds: the empty one and these, in this order.

  Args:
    captions: the texts in UTF-8.
    shard_size: texts per shard.
    shape: (L, D) of an embedding.
    dtype: "float16" or "float32".
    encoder: digest of its parameters.
    data: fingerprint of the images' source; None for texts without images.
  """
  width = max(1, *map(len, captions))
  arrays = {
    "embedding": (dtype, tuple(shape)),
    "image": ("int32", ()),
    "caption": (f"S{width}", ()),
  }
  digest = hashlib.sha256(json.dumps([c.decode() for c in captions]).encode())
  facts = dict(encoder=encoder, data=data, captions=digest.hexdigest())
  return Layout(FORMAT, 1 + len(captions), shard_size, arrays, facts)
