"""Conditioning of samples: none, class labels, or text.

The condition of a sample is identified by an integer, its condition ID: a class
label or the number of a text. IDs can be stored with the samples and used again
to generate the same ones. A conditioning maps IDs to inputs of the network.
"""

import dataclasses
import functools
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from numpy.typing import DTypeLike

from get_jax.data.texts import Texts
from get_jax.diffusion.guidance import check_labels
from get_jax.diffusion.noise import SampleNoise

LABEL_STREAM = 2**32 - 1  # fold_in constant for the label of a sample


class Conditioning(Protocol):
  """Conditions of samples, by sample index.

  Attributes:
    null: the network's input for the null condition; None if it has none.
    num_classes: number of classes; 0 if condition IDs are not class labels.
  """

  @property
  def null(self) -> int | np.ndarray | None:
    """See the attributes of the class."""

  @property
  def num_classes(self) -> int:
    """See the attributes of the class."""

  def sample_ids(
    self, key: jax.Array, indices: Int[np.ndarray, " n"]
  ) -> Int[np.ndarray, " n"] | None:
    """Returns the condition IDs of samples.

    An ID depends only on the key and on the index of its sample.

    Args:
      key: the key of the samples' noise.
      indices: sample indices (n,).

    Returns:
      Condition IDs (n,) int32, or None for unconditional samples.
    """

  def model_inputs(
    self, ids: Int[np.ndarray, " n"] | None
  ) -> np.ndarray | None:
    """Returns the network's inputs (n, ...) for condition IDs (n,).

    Raises:
      UsageError: an ID is out of range.
    """

  def descriptions(
    self, ids: Int[np.ndarray, " n"] | None
  ) -> np.ndarray | None:
    """Returns the class labels (n,) int or the captions (n,) str of IDs."""

  def metadata(self) -> dict:
    """Returns JSON-serializable settings that affect the samples."""


@dataclasses.dataclass(frozen=True)
class Unconditional:
  """No conditioning; see `Conditioning`."""

  null = None
  num_classes = 0

  def sample_ids(self, key: jax.Array, indices: np.ndarray) -> None:
    """Returns None."""
    del key, indices

  def model_inputs(self, ids: np.ndarray | None) -> None:
    """Returns None."""
    del ids

  descriptions = model_inputs

  def metadata(self) -> dict:
    """Returns an empty dict."""
    return {}


@dataclasses.dataclass(frozen=True)
class ClassLabels:
  """Class labels, uniformly random by default; see `Conditioning`.

  Attributes:
    num_classes: number of classes.
    null: label of the null class; None if the network has no null class.
  """

  num_classes: int
  null: int | None

  def sample_ids(self, key: jax.Array, indices: np.ndarray) -> np.ndarray:
    """See `Conditioning.sample_ids`; labels are uniformly distributed."""
    return np.asarray(_sample_labels(key, indices, self.num_classes))

  def model_inputs(self, ids: np.ndarray | None) -> np.ndarray:
    """See `Conditioning.model_inputs`."""
    assert ids is not None
    check_labels(ids, self.num_classes, self.null is not None)
    return np.asarray(ids, np.int32)

  def descriptions(self, ids: np.ndarray | None) -> np.ndarray:
    """Returns the labels unchanged."""
    assert ids is not None
    return ids

  def metadata(self) -> dict:
    """Returns an empty dict: the model's settings contain the classes."""
    return {}


@dataclasses.dataclass(frozen=True)
class Captions:
  """Captions: sample i gets a caption of image i of a shuffled list of images.

  Attributes:
    texts: the captions; `Texts.ids_of_samples` assigns them to samples.
    dtype: dtype of the network's inputs. With that of its matrix products, as
      `inputs` of the network gives it, the numbers are those of float32, and
      less is transferred to the device.
  """

  texts: Texts
  dtype: DTypeLike = np.float32
  num_classes = 0

  @property
  def null(self) -> np.ndarray:
    """The embedding (L, D) of the empty text."""
    return self.texts.null

  def sample_ids(self, key: jax.Array, indices: np.ndarray) -> np.ndarray:
    """See `Conditioning.sample_ids`; the key has no effect."""
    del key
    return self.texts.ids_of_samples(indices)

  def model_inputs(self, ids: np.ndarray | None) -> np.ndarray:
    """See `Conditioning.model_inputs`; returns embeddings (n, L, D)."""
    assert ids is not None
    return self.texts.read(ids).astype(self.dtype, copy=False)

  def descriptions(self, ids: np.ndarray | None) -> np.ndarray:
    """Returns the captions as strings (n,)."""
    assert ids is not None
    return self.texts.captions(ids)

  def metadata(self) -> dict:
    """Returns the fingerprint of the captions."""
    return {"captions": self.texts.fingerprint}


def sample_labels(
  noise: SampleNoise, num_classes: int
) -> Int[Array, " n"] | None:
  """Returns a uniformly random class for each sample.

  Args:
    noise: noise of n samples; a label depends only on the sample's key.
    num_classes: number of classes.

  Returns:
    Labels (n,), or None if `num_classes` is 0.
  """
  if not num_classes:
    return None

  def sample(key):
    key = jax.random.fold_in(key, LABEL_STREAM)
    return jax.random.randint(key, (), 0, num_classes, jnp.int32)

  return jax.vmap(sample)(noise.keys)


@functools.partial(jax.jit, static_argnums=2)
def _sample_labels(key, indices, num_classes: int):
  return sample_labels(SampleNoise.create(key, indices), num_classes)
