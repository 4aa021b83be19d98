"""Noise levels as vectors, as EDM's networks see them."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def noise_sinusoid(t: jax.Array, dim: int, endpoint: bool) -> jax.Array:
  """[cos | sin] of t times 10000^(-k / K), k < dim / 2.

  Args:
    t: (B,) times.
    dim: number of channels, even.
    endpoint: K is dim / 2 - 1, so that the last frequency is 1 / 10000, and
      not dim / 2.

  Returns:
    (B, dim) float32.
  """
  steps = np.arange(dim // 2) / (dim // 2 - endpoint)
  frequencies = jnp.asarray(10000.0**-steps, jnp.float32)
  angles = t.astype(jnp.float32)[:, None] * frequencies
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class FourierEmbed(nn.Module):
  """[cos | sin] of t times random frequencies, which are not trained.

  They are kept with the parameters, as a checkpoint brings its own.
  """

  features: int
  scale: float = 16.0

  @nn.compact
  def __call__(self, t: jax.Array) -> jax.Array:
    """(B,) times to (B, features) float32."""
    start = nn.initializers.normal(self.scale)
    freqs = self.param("freqs", start, (self.features // 2,))
    freqs = jax.lax.stop_gradient(2 * math.pi * freqs)
    angles = t.astype(jnp.float32)[:, None] * freqs
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
