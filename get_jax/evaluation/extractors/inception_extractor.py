"""FID's Inception-v3 as a feature extractor."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import Extracted
from get_jax.evaluation.extractors.inception import NUM_FEATURES, Inception
from get_jax.evaluation.extractors.inception_weights import (
  digest,
  inception_params,
  locate_inception_file,
  random_checkpoint,
)
from get_jax.evaluation.extractors.preprocessing import (
  PREPROCESSINGS,
  preprocess,
)
from get_jax.evaluation.images import check_uint8


class InceptionExtractor:
  """Pool features, logits and sFID's spatial features of uint8 images.

  Args:
    arrays: The checkpoint `pt_inception-2015-12-05-6726825d.pth` as arrays by
      name.
    preprocessing: One of `PREPROCESSINGS`; part of the extractor's name.
    name: First part of the name.

  Attributes:
    name: Such as "inception-tf1".
    dim: 2048.
    digest: sha256 of the weights.
    preprocessing: As given.
  """

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
    self.digest = digest(arrays)
    # Two programs, so that images of another size compile only the first.
    self._preprocess = jax.jit(
      functools.partial(preprocess, name=preprocessing)
    )
    self._network = jax.jit(Inception().apply)

  def __call__(self, images) -> Extracted:
    """Features of uint8 images (B, H, W, 3), or grey (B, H, W, 1)."""
    check_uint8(images, (1, 3), None, self.name)
    if images.shape[-1] == 1:
      images = jnp.repeat(images, 3, axis=-1)
    found = self._network({"params": self._params}, self._preprocess(images))
    # Every published inception score leaves out the last layer's bias.
    return Extracted(found["pool"], found["logits_unbiased"], found["spatial"])


def inception_extractor(
  read: Callable, path: str | None = None, **options
) -> InceptionExtractor:
  """The network with its public weights.

  Args:
    read: What reads a checkpoint: `get_jax.interop.read_checkpoint`. (Rooms
      beside each other do not import one another.)
    path: Where the checkpoint lies; None means `DEFAULT_PATH`.
    **options: As `InceptionExtractor`.

  Raises:
    UsageError: The file is missing or holds another network.
  """
  return InceptionExtractor(read(locate_inception_file(path)), **options)


def random_inception_extractor(seed: int = 0, **options) -> InceptionExtractor:
  """The network with random weights, which the name says.

  For trying out programs offline; its distances compare with nothing else.

  Args:
    seed: Seed of the weights.
    **options: As `InceptionExtractor`.
  """
  return InceptionExtractor(
    random_checkpoint(seed), name=f"random{seed}-inception", **options
  )
