"""Embeddings of the noise level in EDM's networks."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real


def noise_sinusoid(
  t: Real[Array, " B"], dim: int, endpoint: bool
) -> Float[Array, "B E"]:
  """Returns [cos | sin] of t times 10000^(-k / K), k < dim / 2.

  Args:
    t: Times, in EDM the noise labels c_noise.
    dim: Number of channels E, even.
    endpoint: Whether K is dim / 2 - 1, so that the last frequency is 1 / 10000,
      and not dim / 2.

  Returns:
    The embedding in float32.
  """
  steps = np.arange(dim // 2) / (dim // 2 - endpoint)
  frequencies = jnp.asarray(10000.0**-steps, jnp.float32)
  angles = jnp.asarray(t, jnp.float32)[:, None] * frequencies[None]
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class FourierEmbed(nn.Module):
  """[cos | sin] of the time multiplied by random frequencies.

  The frequencies are not trained. They are stored with the parameters, because
  a checkpoint has its own.

  Attributes:
    features: Number of channels E, even.
    scale: Standard deviation of the frequencies.
  """

  features: int
  scale: float = 16.0

  @nn.compact
  def __call__(self, t: Real[Array, " B"]) -> Float[Array, "B E"]:
    """Embeds times in float32."""
    freqs_init = nn.initializers.normal(self.scale)
    shape = (self.features // 2,)
    freqs = self.param("freqs", freqs_init, shape, jnp.float32)
    freqs = jax.lax.stop_gradient(2 * math.pi * freqs)
    angles = jnp.asarray(t, jnp.float32)[:, None] * freqs[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
