"""What samples are asked to show: nothing, a class each, or a text each.

A condition chooses by number, so that what was asked for can be stored beside
the samples and asked for again, and turns numbers into what the network takes.
"""

import dataclasses
import functools
from typing import Protocol

import jax
import numpy as np

from get_jax.data.texts import Texts
from get_jax.diffusion.guidance import check_labels
from get_jax.diffusion.noise import SampleNoise

LABELS = 2**32 - 1  # stream of a sample's label


class Conditioning(Protocol):
  """Conditions of samples, by sample index.

  Attributes:
    null: what the network takes for "no condition", or None.
    num_classes: 0 unless the numbers are classes.
  """

  null: int | np.ndarray | None
  num_classes: int

  def choose(self, key: jax.Array, indices: np.ndarray) -> np.ndarray | None:
    """What samples `indices` (n,) show, int32 (n,), or None for nothing.

    It depends on the key of the samples' noise and each one's index alone.
    """

  def inputs(self, chosen: np.ndarray | None) -> np.ndarray | None:
    """What the network takes for the numbers `chosen` (n,): (n, ...).

    Raises:
      UsageError: a number is out of range.
    """

  def names(self, chosen: np.ndarray | None) -> np.ndarray | None:
    """The numbers as they are stored beside samples: classes, or captions."""

  def facts(self) -> dict:
    """What decides the samples, as JSON holds it."""


@dataclasses.dataclass(frozen=True)
class Unconditional:
  """Nothing; see `Conditioning`."""

  null = None
  num_classes = 0

  def choose(self, key, indices):
    """None."""
    del key, indices

  def inputs(self, chosen):
    """None."""
    del chosen

  names = inputs

  def facts(self):
    """Nothing."""
    return {}


@dataclasses.dataclass(frozen=True)
class Classes:
  """A uniform class for each sample, from its key; see `Conditioning`."""

  num_classes: int
  null: int | None

  def choose(self, key, indices):
    """See `Conditioning.choose`."""
    return np.asarray(_draw(key, indices, self.num_classes))

  def inputs(self, chosen):
    """See `Conditioning.inputs`."""
    check_labels(chosen, self.num_classes, self.null is not None)
    return np.asarray(chosen, np.int32)

  def names(self, chosen):
    """The classes themselves."""
    return chosen

  def facts(self):
    """Nothing; the network's settings say it all."""
    return {}


@dataclasses.dataclass(frozen=True)
class Captions:
  """Sample i shows a caption of image i of a shuffled list of them.

  Attributes:
    texts: the list; `Texts.chosen` is the choice.
  """

  texts: Texts
  num_classes = 0

  @property
  def null(self):
    """The embedding (L, D) of the empty text."""
    return self.texts.null

  def choose(self, key, indices):
    """See `Conditioning.choose`; the key does not matter."""
    del key
    return self.texts.chosen(indices)

  def inputs(self, chosen):
    """See `Conditioning.inputs`."""
    return self.texts.read(chosen)

  def names(self, chosen):
    """The captions as text."""
    return self.texts.captions(chosen)

  def facts(self):
    """Which list it is."""
    return {"captions": self.texts.fingerprint}


def draw_labels(noise: SampleNoise, num_classes: int) -> jax.Array | None:
  """A uniform class for each sample, from its key; None without classes."""
  if not num_classes:
    return None

  def draw(key):
    return jax.random.randint(
      jax.random.fold_in(key, LABELS), (), 0, num_classes
    )

  return jax.vmap(draw)(noise.keys)


@functools.partial(jax.jit, static_argnums=2)
def _draw(key, indices, num_classes: int):
  return draw_labels(SampleNoise.of(key, indices), num_classes)
