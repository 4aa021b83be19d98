"""A small convolutional classifier whose last layer but one measures images.

The digits extractor ships such a network; `experiments/` trains a wider one on
CIFAR-10. Distances under two trainings differ by some 10 %, so a network is
an extractor only once it is frozen: its file carries its name, and so does
every score.
"""

import functools
import hashlib
import io
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from get_jax.errors import UsageError
from get_jax.evaluation.images import check_uint8

SPATIAL_CHANNELS = 7  # as many as sFID takes from Inception


class Extracted(NamedTuple):
  """What an extractor says of a batch of images.

  Attributes:
    features: (B, D) float32.
    logits: (B, K) float32, or None where the network classifies nothing.
    spatial: (B, S) float32, a few channels of a layer that still has places,
      flattened; or None.
  """

  features: Any
  logits: Any = None
  spatial: Any = None


class Classifier(nn.Module):
  """Stages of two 3x3 convolutions and a 2x2 mean, then two dense layers.

  Attributes:
    widths: Channels of each stage; each halves the image.
    num_features: Width D of the dense layer that is the feature vector.
    num_classes: Number K of classes.
    normalize: GroupNorm (groups of 16 channels) before each activation.
  """

  widths: tuple[int, ...]
  num_features: int
  num_classes: int
  normalize: bool = False

  @nn.compact
  def __call__(self, images) -> Extracted:
    """Classifies.

    Args:
      images: (B, H, W, C) in 0..255, any number type.

    Returns:
      `Extracted` with all three fields.
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
    return Extracted(features, logits, spatial.reshape(len(x), -1))


class ClassifierExtractor:
  """A trained `Classifier` as a feature extractor.

  Attributes:
    name: Name that goes into every score.
    dim: Number of features.
    image_shape: (H, W, C), the only images it reads.
    digest: sha256 of the file it came from.
    preprocessing: What is done to the uint8 images.
  """

  preprocessing = "x / 127.5 - 1"

  def __init__(self, name, classifier, params, image_shape, digest):
    self.name = name
    self.dim = classifier.num_features
    self.image_shape = tuple(image_shape)
    self.digest = digest
    self._apply = functools.partial(
      jax.jit(classifier.apply), {"params": params}
    )

  def __call__(self, images) -> Extracted:
    """Features of uint8 images (B, H, W, C) of the classifier's own size."""
    *size, channels = self.image_shape
    check_uint8(images, (channels,), tuple(size), self.name)
    return self._apply(images)


def save_classifier(path, name, classifier, params, image_shape, **facts):
  """Writes a trained classifier, its parameters as float16.

  Args:
    path: The `.npz` file to write.
    name: Name of the extractor, such as "digits-v1".
    classifier: The module.
    params: Its parameters.
    image_shape: (H, W, C) it was trained on.
    **facts: What else the file should say, such as its accuracy.
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
  arrays = {
    key: np.asarray(value, np.float16)
    for key, value in traverse_util.flatten_dict(params, sep="/").items()
  }
  np.savez(path, about=np.array(json.dumps(about)), **arrays)


def load_classifier(path, sha256: str | None = None) -> ClassifierExtractor:
  """Reads what `save_classifier` wrote; nothing in the file is executed.

  Args:
    path: The `.npz` file.
    sha256: Expected digest of the file; None accepts any.

  Raises:
    UsageError: The file is missing, is of another kind, or has another digest.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UsageError(
      f"no classifier file at {path}, expected one written by "
      "experiments/cifar10_classifier.py"
    )
  content = path.read_bytes()
  digest = hashlib.sha256(content).hexdigest()
  if sha256 is not None and digest != sha256:
    raise UsageError(
      f"{path} has sha256 {digest}, expected {sha256}: the frozen classifier "
      "was changed, and distances under it would not compare"
    )
  try:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
      arrays = {key: file[key] for key in file.files}
    about = json.loads(str(arrays.pop("about")))
    fields = dict(about["classifier"])
    classifier = Classifier(**fields | {"widths": tuple(fields["widths"])})
    name, image_shape = about["name"], about["image_shape"]
  except (ValueError, KeyError, OSError, TypeError) as error:
    raise UsageError(
      f"{path} is no classifier file ({error}), expected a .npz written by "
      "get_jax.evaluation.save_classifier"
    ) from error
  params = traverse_util.unflatten_dict(
    {key: jnp.asarray(value, jnp.float32) for key, value in arrays.items()},
    sep="/",
  )
  return ClassifierExtractor(name, classifier, params, image_shape, digest)
