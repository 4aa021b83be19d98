"""The terms of the variational bound, in bits per dimension."""

import math

import jax.numpy as jnp


def mean_bits(nats):
  """The mean over all axes but the first, in bits: (B, ...) to (B,)."""
  return nats.mean(tuple(range(1, nats.ndim))) / math.log(2)


def normal_kl(mean1, log_variance1, mean2, log_variance2):
  """KL(N(mean1, .) || N(mean2, .)) of every element, in nats."""
  return 0.5 * (
    log_variance2
    - log_variance1
    - 1.0
    + jnp.exp(log_variance1 - log_variance2)
    + (mean1 - mean2) ** 2 * jnp.exp(-log_variance2)
  )


def decoder_nll(x, mean, log_variance):
  """The 8-bit image decoder of Ho et al. (Section 3.3), in nats.

  The probability that a normal variable falls into x's bin of width 2 / 255,
  where the outermost bins reach to infinity. The DiT family trains on latents,
  which leave [-1, 1], with this term unchanged, and so does this library.

  Args:
    x: data in [-1, 1].
    mean: of the decoder, shaped as x.
    log_variance: of the decoder, shaped as x.

  Returns:
    The negative log likelihood of every element.
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
  """The tanh approximation that the published models were trained with."""
  return 0.5 * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
