"""EDM's augmentation of training images, told to the network by labels.

Karras et al., Appendix F.2. Every operation is drawn for every image, applied
with its own probability, and described by labels that are 0 where it was not
applied; sampling with all labels 0 gives images that were never augmented.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.warp import warp

# The random numbers of every operation, in the order they are applied.
_DRAWS = {
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
  """The pipe; the defaults are those of EDM's CIFAR-10 runs.

  Attributes:
    p: probability that multiplies every operation's own.
    xflip: times `p`, the probability to draw whether to mirror; 1e8 always.
    yflip: likewise upside down.
    rotate_int: quarter turns.
    translate_int: shifts by whole pixels.
    scale: isotropic scaling by 2^(0.2 normal).
    rotate_frac: any rotation.
    aniso: stretching by 2^(0.2 normal), half the time along the axes.
    translate_frac: shifts by 0.125 normal of the size.
    brightness: adding 0.2 normal.
    contrast: multiplying by 2^(0.5 normal).
    lumaflip: inverting the luma.
    hue: rotating colours about the grey axis.
    saturation: multiplying chroma by 2^normal.
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

  @property
  def operations(self) -> tuple[str, ...]:
    """The operations in use, in order."""
    return tuple(name for name in _DRAWS if getattr(self, name) > 0)

  @property
  def num_labels(self) -> int:
    """Length of an image's labels."""
    return sum(_LABELS.get(name, 1) for name in self.operations)

  def __call__(self, key: jax.Array, images: jax.Array):
    """Augments images.

    Args:
      key: PRNG key.
      images: (B, H, W, 3 or 1) float32; quarter turns need H = W.

    Returns:
      The images, and the labels (B, num_labels) float32.
    """
    return self.apply(images, self.draw(key, len(images)))

  def draw(self, key: jax.Array, batch: int) -> dict[str, list[jax.Array]]:
    """The raw random numbers of each operation, before any is gated."""
    draws = {}
    for i, name in enumerate(_DRAWS):
      keys = jax.random.split(jax.random.fold_in(key, i), 4)
      if name in self.operations:
        kinds = zip(keys, _DRAWS[name], strict=False)
        draws[name] = [_draw(k, kind, batch) for k, kind in kinds]
    return draws

  def apply(self, images: jax.Array, draws: dict[str, list[jax.Array]]):
    """Augments images with given random numbers; see `__call__`."""
    _, height, width, _ = images.shape
    size = np.array([width, height], np.float32)
    used, labels = self.operations, []

    def gated(name, value, gate):
      return jnp.where(gate < getattr(self, name) * self.p, value, 0)

    def flip(images, where, axis):
      return jnp.where(_column(where, 4), jnp.flip(images, axis), images)

    for name, axis in (("xflip", 2), ("yflip", 1)):
      if name in used:
        w = gated(name, *draws[name])
        images = flip(images, w == 1, axis)
        labels.append(w)
    if "rotate_int" in used:
      w = gated("rotate_int", *draws["rotate_int"])
      across, down = (w == 1) | (w == 2), (w == 2) | (w == 3)
      images = flip(flip(images, across, 2), down, 1)
      turned = jnp.swapaxes(images, 1, 2)
      images = jnp.where(_column((w == 1) | (w == 3), 4), turned, images)
      labels += [across, down]
    if "translate_int" in used:
      value, gate = draws["translate_int"]
      w = gated("translate_int", 2 * value - 1, gate)
      reach = 0.125 * size[:, None]
      shift = jnp.round(w * reach)
      images = jax.vmap(_shift)(images, *shift.astype(jnp.int32))
      labels += [*(shift / reach)]

    inverse = jnp.eye(3)
    if "scale" in used:
      w = gated("scale", *draws["scale"])
      s = jnp.exp2(-0.2 * w)
      inverse = inverse @ _scaling(s, s)
      labels.append(w)
    if "rotate_frac" in used:
      value, gate = draws["rotate_frac"]
      w = gated("rotate_frac", math.pi * (2 * value - 1), gate)
      inverse = inverse @ _rotation(w)
      labels += [jnp.cos(w) - 1, jnp.sin(w)]
    if "aniso" in used:
      value, angle, gate, tilt = draws["aniso"]
      w = gated("aniso", value, gate)
      r = jnp.where(tilt < 0.5, math.pi * (2 * angle - 1), 0)
      s = jnp.exp2(0.2 * w)
      inverse = inverse @ _rotation(-r) @ _scaling(1 / s, s) @ _rotation(r)
      labels += [w * jnp.cos(r), w * jnp.sin(r)]
    if "translate_frac" in used:
      w = gated("translate_frac", *draws["translate_frac"])
      inverse = inverse @ _translation(*(-0.125 * size[:, None] * w))
      labels += [*w]
    if inverse.ndim == 3:
      images = warp(images, inverse)

    color = jnp.eye(4)
    grey = np.outer([1, 1, 1, 0], [1, 1, 1, 0]) / 3
    if "brightness" in used:
      w = gated("brightness", *draws["brightness"])
      added = 0.2 * w[:, None, None] * np.outer([1, 1, 1, 0], [0, 0, 0, 1])
      color = (jnp.eye(4) + added) @ color
      labels.append(w)
    if "contrast" in used:
      w = gated("contrast", *draws["contrast"])
      times = jnp.exp2(0.5 * w)[:, None] * np.array([1, 1, 1, 0])
      color = _diagonal(times + np.array([0, 0, 0, 1])) @ color
      labels.append(w)
    if "lumaflip" in used:
      w = gated("lumaflip", *draws["lumaflip"])
      color = (jnp.eye(4) - 2 * grey * w[:, None, None]) @ color
      labels.append(w)
    if "hue" in used:
      value, gate = draws["hue"]
      w = gated("hue", math.pi * (2 * value - 1), gate)
      color = _hue_rotation(w) @ color
      labels += [jnp.cos(w) - 1, jnp.sin(w)]
    if "saturation" in used:
      w = gated("saturation", *draws["saturation"])
      chroma = jnp.exp2(w)[:, None, None] * (np.eye(4) - grey)
      color = (grey + chroma) @ color
      labels.append(w)
    if color.ndim == 3:
      images = _recolor(images, color)

    if not labels:
      return images, jnp.zeros((len(images), 0))
    return images, jnp.stack(labels, axis=1).astype(jnp.float32)


def _draw(key, kind, batch):
  match kind:
    case "coin":
      return jax.random.randint(key, (batch,), 0, 2)
    case "quarter":
      return jax.random.randint(key, (batch,), 0, 4)
    case "normal":
      return jax.random.normal(key, (batch,))
    case "normal pair":
      return jax.random.normal(key, (2, batch))
    case "uniform pair":
      return jax.random.uniform(key, (2, batch))
    case _:
      return jax.random.uniform(key, (batch,))


def _column(values, ndim):
  return values.reshape(-1, *[1] * (ndim - 1))


def _shift(image, x, y):
  """Moves (H, W, C) by whole pixels, right and up, reflecting at borders."""
  height, width, _ = image.shape

  def reflect(places, size):
    return size - 1 - jnp.abs(size - 1 - places % (2 * size - 2))

  rows = reflect(jnp.arange(height) + y, height)
  columns = reflect(jnp.arange(width) - x, width)
  return image[rows][:, columns]


def _diagonal(values):
  return values[:, :, None] * jnp.eye(values.shape[1])


def _scaling(x, y):
  return _diagonal(jnp.stack([x, y, jnp.ones_like(x)], axis=1))


def _rotation(angle):
  c, s = jnp.cos(angle), jnp.sin(angle)
  zero, one = jnp.zeros_like(c), jnp.ones_like(c)
  rows = [[c, -s, zero], [s, c, zero], [zero, zero, one]]
  return jnp.moveaxis(jnp.array(rows), -1, 0)


def _translation(x, y):
  shift = jnp.stack([x, y, jnp.zeros_like(x)], axis=1)
  return jnp.eye(3) + shift[:, :, None] * np.array([0, 0, 1])


def _hue_rotation(angle):
  """Rodrigues' rotation about the grey axis, (B, 4, 4)."""
  axis = np.ones(3) / math.sqrt(3)
  cross = np.cross(np.eye(3), axis)
  c, s = jnp.cos(angle), jnp.sin(angle)
  c, s = c[:, None, None], s[:, None, None]
  turn = c * np.eye(3) + s * cross + (1 - c) * np.outer(axis, axis)
  return jnp.pad(turn, ((0, 0), (0, 1), (0, 1))).at[:, 3, 3].set(1)


def _recolor(images, color):
  """Applies affine colour maps (B, 4, 4) to (B, H, W, 3 or 1)."""
  if images.shape[-1] == 1:
    mean = color[:, :3].mean(axis=1)
    times = _column(mean[:, :3].sum(axis=1), 4)
    return images * times + _column(mean[:, 3], 4)
  moved = jnp.einsum("bij,bhwj->bhwi", color[:, :3, :3], images)
  return moved + color[:, None, None, :3, 3]
