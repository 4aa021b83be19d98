"""Creates feature extractors by name.

An extractor computes features of uint8 images, and every score is named after
its extractor ("fid[digits-v1]"): the same images have other scores under
another extractor. An extractor that is not available is an error; it is never
substituted by another.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import (
  ClassifierExtractor,
  ExtractorOutput,
  load_classifier,
)
from get_jax.evaluation.extractors.inception_extractor import (
  inception_extractor,
  random_inception_extractor,
)

DIGITS_SHA256 = (
  "e2161f870a8a5c306a449501db52c0ef3b0bd70bc748cc6479b537d4cebfb13d"
)


class FeatureExtractor(Protocol):
  """Interface of an extractor.

  Attributes:
    name: Name of the extractor, part of the name of every score.
    dim: Number of features D.
    digest: Hash of the weights, or "" where there is none; part of the key of
      cached reference statistics.
    preprocessing: Transformation of the uint8 images before the network.
    channels: Channels C of image files: 3, or 1 for grey.
  """

  name: str
  dim: int
  digest: str
  preprocessing: str
  channels: int

  def __call__(self, images) -> ExtractorOutput:
    """Computes features.

    Args:
      images: uint8 (B, H, W, C), on the host or (sharded) on devices.

    Returns:
      `ExtractorOutput(features, logits, spatial)`; the last two may be None.
    """


class CallableExtractor:
  """Wraps a function of uint8 images as an extractor.

  Args:
    function: uint8 (B, H, W, C) -> features (B, D), or an `ExtractorOutput`.
    name: Name of the extractor, part of the name of every score.
    dim: Number of features D.
    digest: Distinguishes versions of `function`, if there are any.
    channels: Channels C of image files: 3, or 1 for grey.
  """

  preprocessing = "as the function does"

  def __init__(
    self,
    function: Callable[[Any], ExtractorOutput | np.ndarray | jax.Array],
    name: str,
    dim: int,
    digest: str = "",
    channels: int = 3,
  ):
    self.name, self.dim, self.digest = name, dim, digest
    self.channels = channels
    self._function = function

  def __call__(self, images) -> ExtractorOutput:
    """Computes the features of uint8 images (B, H, W, C)."""
    output = self._function(images)
    if isinstance(output, ExtractorOutput):
      return output
    return ExtractorOutput(output)


def digits_extractor() -> ClassifierExtractor:
  """Loads the frozen digits classifier.

  It reads 8x8 grey images and computes 64 features and 10 logits. Its weights
  are in `digits_v1.npz` in this package, written by
  `train_digits_classifier.py`.

  Raises:
    UsageError: The weights are not the frozen ones.
  """
  path = pathlib.Path(__file__).with_name("digits_v1.npz")
  return load_classifier(path, sha256=DIGITS_SHA256)


_EXTRACTORS: Mapping[str, Callable[..., FeatureExtractor]] = {
  "digits-v1": digits_extractor,
  "classifier": load_classifier,
  "inception": inception_extractor,
  "random-inception": random_inception_extractor,
}


def create_extractor(name: str, **options: Any) -> FeatureExtractor:
  """Creates an extractor by name.

  Args:
    name: "digits-v1" (no options), "classifier" (`path` of a file written by
      `save_classifier`), "inception" (`read`, `path`, `preprocessing`) or
      "random-inception" (`seed`, `preprocessing`).
    **options: Options of that extractor.

  Raises:
    UsageError: The name is unknown, or a file cannot be used.
  """
  if name not in _EXTRACTORS:
    raise UsageError(
      f"unknown extractor {name!r}, expected one of {sorted(_EXTRACTORS)}"
    )
  return _EXTRACTORS[name](**options)
