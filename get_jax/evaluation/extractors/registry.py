"""Feature extractors by name: what a score is measured with.

An extractor turns uint8 images into features, and every score carries its
name ("fid[digits-v1]"): the same images score differently under another one.
A name is never replaced by another that happens to be at hand.
"""

import pathlib
from collections.abc import Callable
from typing import Protocol

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import (
  ClassifierExtractor,
  Extracted,
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
  """What the scores need to know of an extractor.

  Attributes:
    name: Goes into the name of every score.
    dim: Number of features D.
    digest: Hash of its weights, or "" where it has none; part of the key
      under which reference statistics are kept.
    preprocessing: What it does to the uint8 images before the network.
  """

  name: str
  dim: int
  digest: str
  preprocessing: str

  def __call__(self, images) -> Extracted:
    """Extracts.

    Args:
      images: uint8 (B, H, W, C), on the host or (sharded) on devices.

    Returns:
      `Extracted(features, logits, spatial)`; the last two may be None.
    """


class CallableExtractor:
  """Any function of uint8 images as an extractor.

  Args:
    function: uint8 (B, H, W, C) -> features (B, D), or an `Extracted`.
    name: Name that goes into every score.
    dim: Number of features D.
    digest: Tells versions of `function` apart, if it has any.
  """

  preprocessing = "as the function does"

  def __init__(self, function: Callable, name: str, dim: int, digest: str = ""):
    self.name, self.dim, self.digest = name, dim, digest
    self._function = function

  def __call__(self, images) -> Extracted:
    """Features of uint8 images (B, H, W, C)."""
    found = self._function(images)
    return found if isinstance(found, Extracted) else Extracted(found)


def digits_extractor() -> ClassifierExtractor:
  """The frozen digits classifier: 8x8 grey images, 64 features, 10 logits.

  Its weights lie beside this file; `train_digits_classifier.py` made them.

  Raises:
    UsageError: The weights are not the frozen ones.
  """
  path = pathlib.Path(__file__).with_name("digits_v1.npz")
  return load_classifier(path, sha256=DIGITS_SHA256)


_EXTRACTORS = {
  "digits-v1": digits_extractor,
  "classifier": load_classifier,
  "inception": inception_extractor,
  "random-inception": random_inception_extractor,
}


def create_extractor(name: str, **options) -> FeatureExtractor:
  """Makes an extractor by name.

  Args:
    name: "digits-v1" (no options), "classifier" (`path` of a file that
      `save_classifier` wrote), "inception" (`read`, `path`, `preprocessing`) or
      "random-inception" (`seed`, `preprocessing`).
    **options: Options of that extractor.

  Raises:
    UsageError: An unknown name, or a file that cannot be used.
  """
  if name not in _EXTRACTORS:
    raise UsageError(
      f"unknown extractor {name!r}, expected one of {sorted(_EXTRACTORS)}"
    )
  return _EXTRACTORS[name](**options)
