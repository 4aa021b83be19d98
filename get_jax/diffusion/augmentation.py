"""EDM's augmentation of training images, with labels for the network.

The parameters of every operation are sampled for every image. The operation is
applied with its own probability and described to the network by labels, which
are 0 if it is not applied. Samples generated with all labels 0 are not
augmented.

Source: Karras et al., Appendix F.2.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from get_jax.diffusion.process import as_float32
from get_jax.diffusion.registry import check_interval
from get_jax.diffusion.typing import Array
from get_jax.diffusion.warp import warp
from get_jax.errors import UsageError

# Distributions of the random numbers of every operation, in the order of
# application. An operation is applied where "gate", a uniform number, is below
# its probability.
_RANDOM_NUMBERS = {
  "xflip": ("coin", "gate"),
  "yflip": ("coin", "gate"),
  "rotate_int": ("quarter", "gate"),
  "translate_int": ("uniform pair", "gate"),
  "scale": ("normal", "gate"),
  "rotate_frac": ("uniform", "gate"),
  "aniso": ("normal", "uniform", "gate", "gate"),
  "translate_frac": ("normal pair", "gate"),
  "brightness": ("normal", "gate"),
  "contrast": ("normal", "gate"),
  "lumaflip": ("coin", "gate"),
  "hue": ("uniform", "gate"),
  "saturation": ("normal", "gate"),
}
# Fields that must be positive.
_STRENGTHS = (
  "translate_int_max",
  "scale_std",
  "rotate_frac_max",
  "aniso_std",
  "translate_frac_std",
  "brightness_std",
  "contrast_std",
  "hue_max",
  "saturation_std",
)
# Number of labels of the operations with more than one.
_LABELS = {
  "rotate_int": 2,
  "translate_int": 2,
  "rotate_frac": 2,
  "aniso": 2,
  "translate_frac": 2,
  "hue": 2,
}


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """EDM's augmentation pipeline; the defaults are those of its CIFAR-10 runs.

  The attributes other than `p` are relative probabilities of the operations.
  "normal" is a standard normal number.

  Attributes:
    p: factor on the probability of every operation.
    xflip: times `p`, the probability of sampling whether to mirror the image
      horizontally, which then happens in half the cases; 1e8 means always.
    yflip: as `xflip`, for vertical mirroring.
    rotate_int: rotation by multiples of 90 degrees.
    translate_int: translation by whole pixels.
    scale: isotropic scaling by 2^(scale_std normal).
    rotate_frac: rotation by any angle up to a limit.
    aniso: anisotropic scaling by 2^(aniso_std normal), by default in half the
      cases along the axes.
    translate_frac: translation by translate_frac_std normal times the size of
      the image.
    brightness: addition of brightness_std normal.
    contrast: multiplication by 2^(contrast_std normal).
    lumaflip: inversion of the luma.
    hue: rotation of colours about the grey axis.
    saturation: multiplication of the chroma by 2^(saturation_std normal).
    translate_int_max: largest translation by whole pixels, as a share of the
      size of the image.
    scale_std: standard deviation of the binary logarithm of `scale`.
    rotate_frac_max: largest angle of `rotate_frac`, as a share of 180 degrees.
    aniso_std: standard deviation of the binary logarithm of `aniso`.
    aniso_rotate_prob: probability that the axes of `aniso` are rotated.
    translate_frac_std: standard deviation of `translate_frac`, as a share of
      the size of the image.
    brightness_std: standard deviation of `brightness`.
    contrast_std: standard deviation of the binary logarithm of `contrast`.
    hue_max: largest angle of `hue`, as a share of 180 degrees.
    saturation_std: standard deviation of the binary logarithm of `saturation`.
  """

  p: float = 0.12
  xflip: float = 1e8
  yflip: float = 1.0
  rotate_int: float = 0.0
  translate_int: float = 0.0
  scale: float = 1.0
  rotate_frac: float = 1.0
  aniso: float = 1.0
  translate_frac: float = 1.0
  brightness: float = 0.0
  contrast: float = 0.0
  lumaflip: float = 0.0
  hue: float = 0.0
  saturation: float = 0.0
  translate_int_max: float = 0.125
  scale_std: float = 0.2
  rotate_frac_max: float = 1.0
  aniso_std: float = 0.2
  aniso_rotate_prob: float = 0.5
  translate_frac_std: float = 0.125
  brightness_std: float = 0.2
  contrast_std: float = 0.5
  hue_max: float = 1.0
  saturation_std: float = 1.0

  def __post_init__(self):
    for field in _STRENGTHS:
      check_interval("augmentation", field, getattr(self, field), 0)
    if not 0 <= self.aniso_rotate_prob <= 1:
      raise UsageError(
        f"augmentation: aniso_rotate_prob is {self.aniso_rotate_prob!r}: "
        "expected a number from 0 to 1"
      )

  @property
  def operations(self) -> tuple[str, ...]:
    """The enabled operations, in the order of application."""
    return tuple(name for name in _RANDOM_NUMBERS if getattr(self, name) > 0)

  @property
  def num_labels(self) -> int:
    """The number of labels per image."""
    return sum(_LABELS.get(name, 1) for name in self.operations)

  def __call__(
    self, key: jax.Array, images: Real[Array, "B H W C"]
  ) -> tuple[Float[Array, "B H W C"], Float[Array, "B L"]]:
    """Augments images.

    Args:
      key: PRNG key.
      images: (B, H, W, 3 or 1); `rotate_int` needs H = W.

    Returns:
      The images, and the labels (B, num_labels), both float32.
    """
    return self.apply(images, self.sample_parameters(key, len(images)))

  def sample_parameters(
    self, key: jax.Array, batch: int
  ) -> dict[str, list[jax.Array]]:
    """Samples the random numbers of each operation for `apply`.

    Args:
      key: PRNG key.
      batch: number of images B.

    Returns:
      For each enabled operation its random numbers, each (B,) or (2, B).
    """
    parameters = {}
    for i, name in enumerate(_RANDOM_NUMBERS):
      keys = jax.random.split(jax.random.fold_in(key, i), 4)
      if name in self.operations:
        pairs = zip(keys, _RANDOM_NUMBERS[name], strict=False)
        parameters[name] = [_sample(k, kind, batch) for k, kind in pairs]
    return parameters

  def apply(
    self,
    images: Real[Array, "B H W C"],
    parameters: Mapping[str, Sequence[Array]],
  ) -> tuple[Float[Array, "B H W C"], Float[Array, "B L"]]:
    """Augments images with given random numbers.

    Args:
      images: see `__call__`.
      parameters: random numbers of each operation; see `sample_parameters`.

    Returns:
      See `__call__`.
    """
    _, height, width, _ = images.shape
    size = np.array([width, height], np.float32)
    used, labels = self.operations, []
    images = as_float32(images)

    def gated(name, value, gate):
      # 0 where the operation is not applied.
      value, gate = as_float32(value), as_float32(gate)
      return jnp.where(gate < getattr(self, name) * self.p, value, 0.0)

    def flip(images, where, axis):
      return jnp.where(_column(where, 4), jnp.flip(images, axis), images)

    for name, axis in (("xflip", 2), ("yflip", 1)):
      if name in used:
        w = gated(name, *parameters[name])
        images = flip(images, w == 1, axis)
        labels.append(w)
    if "rotate_int" in used:
      w = gated("rotate_int", *parameters["rotate_int"])
      across, down = (w == 1) | (w == 2), (w == 2) | (w == 3)
      images = flip(flip(images, across, 2), down, 1)
      turned = jnp.swapaxes(images, 1, 2)
      images = jnp.where(_column((w == 1) | (w == 3), 4), turned, images)
      labels += [across, down]
    if "translate_int" in used:
      value, gate = parameters["translate_int"]
      w = gated("translate_int", 2 * value - 1, gate)
      reach = self.translate_int_max * size[:, None]
      shift = jnp.round(w * reach)
      images = jax.vmap(_shift)(images, *shift.astype(jnp.int32))
      labels += [*(shift / reach)]

    identity = inverse = np.eye(3, dtype=np.float32)[None]
    if "scale" in used:
      w = gated("scale", *parameters["scale"])
      s = jnp.exp2(-self.scale_std * w)
      inverse = inverse @ _scaling(s, s)
      labels.append(w)
    if "rotate_frac" in used:
      value, gate = parameters["rotate_frac"]
      limit = math.pi * self.rotate_frac_max
      w = gated("rotate_frac", limit * (2 * value - 1), gate)
      inverse = inverse @ _rotation(w)
      labels += [jnp.cos(w) - 1, jnp.sin(w)]
    if "aniso" in used:
      value, angle, gate, tilt = parameters["aniso"]
      w = gated("aniso", value, gate)
      angle, tilt = as_float32(angle), as_float32(tilt)
      tilted = tilt < self.aniso_rotate_prob
      r = jnp.where(tilted, math.pi * (2 * angle - 1), 0.0)
      s = jnp.exp2(self.aniso_std * w)
      inverse = inverse @ _rotation(-r) @ _scaling(1 / s, s) @ _rotation(r)
      labels += [w * jnp.cos(r), w * jnp.sin(r)]
    if "translate_frac" in used:
      w = gated("translate_frac", *parameters["translate_frac"])
      reach = self.translate_frac_std * size[:, None]
      inverse = inverse @ _translation(*(-reach * w))
      labels += [*w]
    if inverse is not identity:
      images = warp(images, inverse)

    eye = np.eye(4, dtype=np.float32)[None]
    rgb, one = np.array([1, 1, 1, 0], np.float32), eye[0, 3]
    grey = np.outer(rgb, rgb)[None] / 3
    color: Array = eye
    if "brightness" in used:
      w = gated("brightness", *parameters["brightness"])
      added = self.brightness_std * w[:, None, None] * np.outer(rgb, one)[None]
      color = (eye + added) @ color
      labels.append(w)
    if "contrast" in used:
      w = gated("contrast", *parameters["contrast"])
      times = jnp.exp2(self.contrast_std * w)[:, None] * rgb[None]
      color = _diagonal(times + one[None]) @ color
      labels.append(w)
    if "lumaflip" in used:
      w = gated("lumaflip", *parameters["lumaflip"])
      color = (eye - 2 * grey * w[:, None, None]) @ color
      labels.append(w)
    if "hue" in used:
      value, gate = parameters["hue"]
      w = gated("hue", math.pi * self.hue_max * (2 * value - 1), gate)
      color = _hue_rotation(w) @ color
      labels += [jnp.cos(w) - 1, jnp.sin(w)]
    if "saturation" in used:
      w = gated("saturation", *parameters["saturation"])
      chroma = jnp.exp2(self.saturation_std * w)[:, None, None] * (eye - grey)
      color = (grey + chroma) @ color
      labels.append(w)
    if color is not eye:
      images = _recolor(images, color)

    if not labels:
      return images, jnp.zeros((len(images), 0), jnp.float32)
    return images, jnp.stack([as_float32(v) for v in labels], axis=1)


def _sample(key, distribution, batch):
  """Samples (batch,) or (2, batch) numbers from a named distribution."""
  match distribution:
    case "coin":
      return jax.random.randint(key, (batch,), 0, 2, jnp.int32)
    case "quarter":
      return jax.random.randint(key, (batch,), 0, 4, jnp.int32)
    case "normal":
      return jax.random.normal(key, (batch,), jnp.float32)
    case "normal pair":
      return jax.random.normal(key, (2, batch), jnp.float32)
    case "uniform pair":
      return jax.random.uniform(key, (2, batch), jnp.float32)
    case _:
      return jax.random.uniform(key, (batch,), jnp.float32)


def _column(values, ndim):
  """Reshapes (B,) to (B, 1, ..., 1) with `ndim` axes."""
  return values.reshape(-1, *[1] * (ndim - 1))


def _shift(image, x, y):
  """Translates (H, W, C) by whole pixels, right and up, with reflection."""
  height, width, _ = image.shape

  def reflect(indices, size):
    return size - 1 - jnp.abs(size - 1 - indices % (2 * size - 2))

  rows = reflect(jnp.arange(height, dtype=jnp.int32) + y, height)
  columns = reflect(jnp.arange(width, dtype=jnp.int32) - x, width)
  return image[rows][:, columns]


def _diagonal(values):
  return values[:, :, None] * np.eye(values.shape[1], dtype=np.float32)[None]


def _scaling(x, y):
  return _diagonal(jnp.stack([x, y, jnp.ones_like(x)], axis=1))


def _rotation(angle):
  c, s = jnp.cos(angle), jnp.sin(angle)
  zero, one = jnp.zeros_like(c), jnp.ones_like(c)
  rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
  return jnp.moveaxis(jnp.array(rows), -1, 0)


def _translation(x, y):
  shift = jnp.stack([x, y, jnp.zeros_like(x)], axis=1)
  eye = np.eye(3, dtype=np.float32)[None]
  return eye + shift[:, :, None] * eye[:, 2:]


def _hue_rotation(angle):
  """Returns rotations about the grey axis (Rodrigues' formula), (B, 4, 4)."""
  axis = np.ones(3) / math.sqrt(3)
  eye, cross, along = (
    a.astype(np.float32)[None]
    for a in (np.eye(3), np.cross(np.eye(3), axis), np.outer(axis, axis))
  )
  c, s = jnp.cos(angle), jnp.sin(angle)
  c, s = c[:, None, None], s[:, None, None]
  rotation = c * eye + s * cross + (1 - c) * along
  return jnp.pad(rotation, ((0, 0), (0, 1), (0, 1))).at[:, 3, 3].set(1.0)


def _recolor(images, color):
  """Applies affine colour maps (B, 4, 4) to (B, H, W, 3 or 1)."""
  if images.shape[-1] == 1:
    mean = color[:, :3].mean(axis=1)
    times = _column(mean[:, :3].sum(axis=1), 4)
    return images * times + _column(mean[:, 3], 4)
  mapped = jnp.einsum("bij,bhwj->bhwi", color[:, :3, :3], images)
  return mapped + color[:, None, None, :3, 3]
