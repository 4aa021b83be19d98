"""Distances between images that consistency models are trained with."""

import math

import jax
import jax.numpy as jnp

from get_jax.diffusion.registry import check_choice
from get_jax.errors import UsageError

DISTANCES = ("l1", "l2", "linf", "huber")


def check_distance(owner: str, field: str, value: str, choices=DISTANCES):
  """Checks the name of a distance.

  Args:
    owner: what has the field, for the message.
    field: name of the field.
    value: its value.
    choices: the valid values.

  Raises:
    UsageError: the distance is unknown or not available.
  """
  if value == "lpips":
    raise UsageError(
      f"{owner}: {field} is 'lpips', which compares features of a pre-trained "
      "VGG network that this library does not contain; expected one of "
      f"{', '.join(choices)}"
    )
  check_choice(owner, field, value, choices)


def distance(
  name: str, difference: jax.Array, huber_c: float | None = None
) -> jax.Array:
  """Returns the size of each difference, (B,).

  Args:
    name: "l1" (mean absolute value), "l2" (mean square), "linf" (largest
      absolute value) or "huber" (see `pseudo_huber`).
    difference: (B, ...) differences of images.
    huber_c: c of "huber"; None: 0.00054 times the root of the number of
      dimensions, as Song and Dhariwal (2023).
  """
  axes = tuple(range(1, difference.ndim))
  match name:
    case "l1":
      return jnp.abs(difference).mean(axes)
    case "l2":
      return jnp.square(difference).mean(axes)
    case "linf":
      sizes = jnp.abs(difference).reshape(len(difference), -1)
      # The gradient of a maximum compares floats, which the compiler may
      # compute twice with different rounding.
      where = jax.lax.stop_gradient(sizes).argmax(axis=1, keepdims=True)
      return jnp.take_along_axis(sizes, where, axis=1)[:, 0]
  if huber_c is None:
    huber_c = 0.00054 * math.sqrt(math.prod(difference.shape[1:]))
  return pseudo_huber(difference, huber_c)


def pseudo_huber(difference: jax.Array, c: float) -> jax.Array:
  """Returns sqrt(|d|^2 + c^2) - c, the norm |d| if c is 0, (B,).

  Args:
    difference: (B, ...) differences d.
    c: 0 or more.
  """
  square = jnp.square(difference).sum(tuple(range(1, difference.ndim)))
  total = square + c**2
  # At a root of 0, the gradient is 0.
  root = jnp.sqrt(jnp.where(total > 0, total, 1.0))
  # The difference of the formula loses precision for small d.
  return square / (root + c)
