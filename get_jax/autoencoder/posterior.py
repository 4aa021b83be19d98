"""The diagonal Gaussian that an encoder gives for an image."""

import jax
import jax.numpy as jnp

LOGVAR_RANGE = (-30.0, 20.0)


def split(moments: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Moments (..., 2C) as mean and clamped log-variance, (..., C) each."""
  mean, logvar = jnp.split(jnp.asarray(moments, jnp.float32), 2, axis=-1)
  return mean, jnp.clip(logvar, *LOGVAR_RANGE)


def sample(moments: jax.Array, noise: jax.Array) -> jax.Array:
  """A latent (..., C) from moments (..., 2C) and standard normal noise."""
  mean, logvar = split(moments)
  return mean + jnp.exp(logvar / 2) * noise


def kl(moments: jax.Array) -> jax.Array:
  """Divergence (B,) from a standard normal, summed over a latent, in nats."""
  mean, logvar = split(moments)
  terms = jnp.square(mean) + jnp.exp(logvar) - 1 - logvar
  return 0.5 * terms.sum(axis=(1, 2, 3))
