"""A small convolutional classifier whose penultimate layer is the features.

The package contains such a network trained on digits; `experiments/` trains a
wider one on CIFAR-10. Distances under two trainings differ by some 10 %, so a
network is an extractor only once it is frozen: its file contains its name, and
every score is named after it.
"""

import functools
import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from get_jax.errors import UsageError
from get_jax.evaluation.quantization import check_uint8
from get_jax.storage.json_files import parse_json
from get_jax.storage.npz import read_npz
from get_jax.storage.paths import as_path

SPATIAL_CHANNELS = 7  # as many as sFID takes from Inception
# Bounds of what a file may declare.
_MAX_SIZE, _MAX_STAGES = 2**16, 16


class ExtractorOutput(NamedTuple):
  """What an extractor computes for a batch of images.

  Attributes:
    features: (B, D) float32.
    logits: (B, K) float32, or None where the network is no classifier.
    spatial: (B, S) float32, some channels of a layer with spatial dimensions,
      flattened; or None.
  """

  features: Any
  logits: Any = None
  spatial: Any = None


class Classifier(nn.Module):
  """Stages of two 3x3 convolutions and 2x2 mean pooling, then two dense layers.

  Attributes:
    widths: Channels of each stage; each halves height and width.
    num_features: Width D of the dense layer that outputs the feature vector.
    num_classes: Number K of classes.
    normalize: GroupNorm (groups of 16 channels) before each activation.
  """

  widths: tuple[int, ...]
  num_features: int
  num_classes: int
  normalize: bool = False

  @nn.compact
  def __call__(self, images) -> ExtractorOutput:
    """Computes features and logits.

    Args:
      images: (B, H, W, C) in 0..255, any number type.

    Returns:
      `ExtractorOutput` with all three fields.
    """
    highest = jax.lax.Precision.HIGHEST
    x = images.astype(np.float32) / 127.5 - 1
    for stage, width in enumerate(self.widths):
      for layer in range(2):
        x = nn.Conv(
          width, (3, 3), precision=highest, name=f"conv{stage}_{layer}"
        )(x)
        if self.normalize:
          x = nn.GroupNorm(
            num_groups=None, group_size=16, name=f"norm{stage}_{layer}"
          )(x)
        x = nn.relu(x)
      spatial = x[..., :SPATIAL_CHANNELS]
      x = nn.avg_pool(x, (2, 2), strides=(2, 2))
    x = x.reshape(len(x), -1)
    features = nn.relu(
      nn.Dense(self.num_features, precision=highest, name="features")(x)
    )
    logits = nn.Dense(self.num_classes, precision=highest, name="logits")(
      features
    )
    return ExtractorOutput(features, logits, spatial.reshape(len(x), -1))


class ClassifierExtractor:
  """A trained `Classifier` as a feature extractor.

  Args:
    name: Name of the extractor, part of the name of every score.
    classifier: The module.
    params: Its parameters.
    image_shape: (H, W, C), the only image shape that it accepts.
    digest: SHA-256 of the file that the parameters were read from.

  Attributes:
    name: As given.
    dim: Number of features.
    image_shape: As given.
    digest: As given.
    preprocessing: Transformation of the uint8 images before the network.
    channels: Channels C of `image_shape`.
  """

  preprocessing = "x / 127.5 - 1"

  def __init__(
    self,
    name: str,
    classifier: Classifier,
    params: dict,
    image_shape: tuple[int, int, int],
    digest: str,
  ):
    self.name = name
    self.dim = classifier.num_features
    self.image_shape = image_shape
    self.channels = image_shape[2]
    self.digest = digest
    self._apply = functools.partial(
      jax.jit(classifier.apply), {"params": params}
    )

  def __call__(self, images) -> ExtractorOutput:
    """Computes the features of uint8 images (B, H, W, C) of `image_shape`."""
    height, width, channels = self.image_shape
    check_uint8(images, (channels,), (height, width), self.name)
    return self._apply(images)


def save_classifier(
  path: str | os.PathLike[str],
  name: str,
  classifier: Classifier,
  params: dict,
  image_shape: tuple[int, int, int],
  **facts,
) -> None:
  """Writes a trained classifier, its parameters as float16.

  Args:
    path: The `.npz` file to write.
    name: Name of the extractor, such as "digits-v1".
    classifier: The module.
    params: Its parameters.
    image_shape: (H, W, C) of the training images.
    **facts: Additional facts to store in the file, such as the accuracy.
  """
  about = {
    "name": name,
    "image_shape": list(image_shape),
    "classifier": {
      "widths": list(classifier.widths),
      "num_features": classifier.num_features,
      "num_classes": classifier.num_classes,
      "normalize": classifier.normalize,
    },
    **facts,
  }
  arrays: dict[str, Any] = {
    key: np.asarray(value, np.float16)
    for key, value in traverse_util.flatten_dict(params, sep="/").items()
  }
  np.savez(path, about=np.array(json.dumps(about)), **arrays)


def load_classifier(
  path: str | os.PathLike[str], sha256: str | None = None
) -> ClassifierExtractor:
  """Loads a file of `save_classifier`, without executing anything in it.

  Args:
    path: The `.npz` file.
    sha256: Expected digest of the file; None accepts any.

  Raises:
    UsageError: The file does not exist, is no classifier file, or has another
      digest.
  """
  location = as_path(path)
  if not location.is_file():
    raise UsageError(
      f"classifier file {path} does not exist, expected one written by "
      "experiments/cifar10_classifier.py"
    )
  content = location.read_bytes()
  digest = hashlib.sha256(content).hexdigest()
  if sha256 is not None and digest != sha256:
    raise UsageError(
      f"{path} has sha256 {digest}, expected {sha256}: the frozen classifier "
      "was changed, and its distances would not be comparable"
    )
  try:
    arrays = read_npz(io.BytesIO(content))
    about = parse_json(str(arrays.pop("about")))
    fields = dict(about["classifier"])
    classifier = Classifier(**fields | {"widths": tuple(fields["widths"])})
    name, image_shape = str(about["name"]), tuple(about["image_shape"])
    _check_params(classifier, arrays, image_shape)
  except (ValueError, LookupError, OSError, TypeError) as error:
    raise UsageError(
      f"{path} is no classifier file ({error}), expected a .npz written by "
      "get_jax.evaluation.save_classifier"
    ) from error
  params = traverse_util.unflatten_dict(
    {key: jnp.asarray(value, jnp.float32) for key, value in arrays.items()},
    sep="/",
  )
  return ClassifierExtractor(name, classifier, params, image_shape, digest)


def _check_params(
  classifier: Classifier,
  arrays: Mapping[str, np.ndarray],
  image_shape: tuple[Any, ...],
) -> None:
  """Raises a ValueError unless the arrays are the parameters of a network."""
  widths, features = classifier.widths, classifier.num_features
  sizes = (*widths, features, classifier.num_classes, *image_shape)
  if (
    not all(type(size) is int and 0 < size <= _MAX_SIZE for size in sizes)
    or len(widths) > _MAX_STAGES
    or len(image_shape) != 3
  ):
    raise ValueError("its sizes are no positive integers, or too large")
  expected = jax.eval_shape(
    classifier.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, *image_shape), np.uint8),
  )["params"]
  shapes = {
    key: leaf.shape
    for key, leaf in traverse_util.flatten_dict(expected, sep="/").items()
  }
  if shapes != {key: array.shape for key, array in arrays.items()}:
    raise ValueError("the shapes of its parameters are not those of its sizes")
  if not all(array.dtype.kind == "f" for array in arrays.values()):
    raise ValueError("its parameters are not numbers")
