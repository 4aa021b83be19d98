"""The diagonal Gaussian over latents that an encoder predicts for an image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LOGVAR_RANGE = (-30.0, 20.0)


def split(moments: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Splits moments (..., 2C) into mean and clipped log-variance (..., C)."""
  mean, logvar = jnp.split(jnp.asarray(moments, jnp.float32), 2, axis=-1)
  return mean, jnp.clip(logvar, *LOGVAR_RANGE)


def sample(
  moments: Float[Array, "... C2"], noise: Float[Array, "... C"]
) -> Float[Array, "... C"]:
  """Samples a latent from moments (C2 = 2C) and standard normal noise."""
  mean, logvar = split(moments)
  return mean + jnp.exp(logvar / 2) * noise


def kl(moments: Float[Array, "B h w C2"]) -> Float[Array, " B"]:
  """Returns the KL divergence from a standard normal distribution in nats.

  Args:
    moments: Mean and log-variance, C2 = 2C channels.

  Returns:
    One value per latent, summed over its entries.
  """
  mean, logvar = split(moments)
  terms = jnp.square(mean) + jnp.exp(logvar) - 1 - logvar
  return 0.5 * terms.sum(axis=(1, 2, 3))
