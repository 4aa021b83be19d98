"""Rotary position embedding (Su et al., "RoFormer", 2021)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def rotate_by_position(
  x: Float[Array, "B N K d"], theta: float = 10_000.0
) -> Float[Array, "B N K d"]:
  """Rotates adjacent pairs of channels by angles proportional to the position.

  Pair i of the token n is rotated by n theta^(-2i / d).

  Args:
    x: Queries or keys, with an even width d.
    theta: Base of the frequencies.

  Returns:
    The rotated array in the dtype of x; the angles and the rotation are
    float32.
  """
  tokens, width = x.shape[1], x.shape[-1]
  frequencies = theta ** (-np.arange(0, width, 2) / width)
  angles = np.arange(tokens)[:, None, None] * frequencies
  cos = jnp.asarray(np.cos(angles), jnp.float32)
  sin = jnp.asarray(np.sin(angles), jnp.float32)
  pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], width // 2, 2)
  first, second = pairs[..., 0], pairs[..., 1]
  rotated: jax.Array = jnp.stack(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )
  return rotated.reshape(x.shape).astype(x.dtype)
