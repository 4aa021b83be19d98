"""Terms of the variational bound (Ho et al.; Nichol and Dhariwal)."""

import math

import jax
import jax.numpy as jnp

from get_jax.diffusion.typing import Array


def mean_bits_per_dim(nats: Array) -> Array:
  """Returns the mean over all axes but the first, in bits: (B, ...) to (B,)."""
  return nats.mean(tuple(range(1, nats.ndim))) / math.log(2)


def normal_kl(
  mean1: Array,
  log_variance1: Array,
  mean2: Array | float,
  log_variance2: Array | float,
) -> Array:
  """Returns KL(N(mean1, .) || N(mean2, .)) of every element, in nats."""
  difference = log_variance1 - log_variance2
  # expm1: the terms of nearly equal variances cancel.
  return 0.5 * (
    jnp.expm1(difference)
    - difference
    + (mean1 - mean2) ** 2 * jnp.exp(-log_variance2)
  )


def decoder_nll(x: Array, mean: Array, log_variance: Array) -> jax.Array:
  """Negative log likelihood of the 8-bit image decoder, in nats.

  The likelihood is the probability that a normal variable falls into the bin
  of x, of width 2 / 255; the outermost bins extend to infinity. The DiT family
  trains with this term on latents, which are not limited to [-1, 1], and so
  does this library.

  Args:
    x: data in [-1, 1].
    mean: mean of the decoder, shaped as x.
    log_variance: log variance of the decoder, shaped as x.

  Returns:
    The negative log likelihood of every element.

  Source: Ho et al., Section 3.3.
  """
  inverse_std = jnp.exp(-0.5 * log_variance)
  upper = _normal_cdf(inverse_std * (x - mean + 1 / 255))
  lower = _normal_cdf(inverse_std * (x - mean - 1 / 255))
  probability = jnp.where(
    x < -0.999,
    upper,
    jnp.where(x > 0.999, 1 - lower, upper - lower),
  )
  return -jnp.log(jnp.maximum(probability, 1e-12))


def _normal_cdf(x):
  """The tanh approximation with which the published models were trained."""
  return 0.5 * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
