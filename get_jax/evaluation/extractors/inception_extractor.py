"""Inception-v3 of FID as a feature extractor."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import ExtractorOutput
from get_jax.evaluation.extractors.inception import NUM_FEATURES, Inception
from get_jax.evaluation.extractors.inception_weights import (
  inception_params,
  locate_inception_file,
  random_checkpoint,
  weights_digest,
)
from get_jax.evaluation.extractors.preprocessing import (
  PREPROCESSINGS,
  preprocess,
)
from get_jax.evaluation.quantization import check_uint8
from get_jax.storage.paths import Path


class InceptionExtractor:
  """Pool features, logits and sFID's spatial features of uint8 images.

  Args:
    arrays: Arrays by name of the checkpoint
      `pt_inception-2015-12-05-6726825d.pth`.
    preprocessing: One of `PREPROCESSINGS`; part of the extractor's name.
    name: First part of the extractor's name.

  Attributes:
    name: Name and preprocessing, such as "inception-tf1".
    dim: Number of features, 2048.
    digest: SHA-256 of the weights.
    preprocessing: As given.
    channels: 3; grey files are opened as RGB.

  Raises:
    UsageError: The preprocessing is unknown, or the arrays are those of
      another network.
  """

  channels = 3

  def __init__(
    self,
    arrays: Mapping[str, np.ndarray],
    preprocessing: str = "tf1",
    name: str = "inception",
  ):
    if preprocessing not in PREPROCESSINGS:
      raise UsageError(
        f"unknown preprocessing {preprocessing!r}, expected one of "
        f"{PREPROCESSINGS}"
      )
    self.name = f"{name}-{preprocessing}"
    self.dim = NUM_FEATURES
    self.preprocessing = preprocessing
    self._params = jax.tree.map(jnp.asarray, inception_params(arrays))
    self.digest = weights_digest(arrays)
    # Two compiled functions: another image size recompiles only the first.
    self._preprocess = jax.jit(
      functools.partial(preprocess, name=preprocessing)
    )
    self._network = jax.jit(Inception().apply)

  def __call__(self, images) -> ExtractorOutput:
    """Computes features of uint8 images (B, H, W, 3), or grey (B, H, W, 1)."""
    check_uint8(images, (1, 3), None, self.name)
    if images.shape[-1] == 1:
      images = jnp.repeat(images, 3, axis=-1)
    output = self._network({"params": self._params}, self._preprocess(images))
    # All published inception scores omit the bias of the last layer.
    return ExtractorOutput(
      output["pool"], output["logits_unbiased"], output["spatial"]
    )


def inception_extractor(
  read: Callable[[Path], Mapping[str, np.ndarray]],
  path: str | None = None,
  **options: Any,
) -> InceptionExtractor:
  """Builds the extractor with the public weights.

  Args:
    read: Function that reads a checkpoint: `get_jax.interop.read_checkpoint`.
      It is an argument because `evaluation` must not import `interop`.
    path: Path of the checkpoint; None means `DEFAULT_PATH`.
    **options: As in `InceptionExtractor`.

  Raises:
    UsageError: The file does not exist or contains another network.
  """
  return InceptionExtractor(read(locate_inception_file(path)), **options)


def random_inception_extractor(
  seed: int = 0, **options: Any
) -> InceptionExtractor:
  """Builds the extractor with random weights; its name contains the seed.

  It serves to try programs offline; its distances are comparable with nothing
  else.

  Args:
    seed: Seed of the weights.
    **options: As in `InceptionExtractor`.
  """
  return InceptionExtractor(
    random_checkpoint(seed), name=f"random{seed}-inception", **options
  )
