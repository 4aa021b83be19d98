"""Diffusion times as vectors."""

import flax.linen as nn
import jax
import jax.numpy as jnp

NORMAL = nn.initializers.normal(0.02)


def timestep_sinusoid(t: jax.Array, dim: int) -> jax.Array:
  """[cos | sin] of t times exp(-ln(10000) k / (dim//2)), k < dim//2.

  Always float32: in bfloat16 an angle near 1000 has lost its fraction.

  Args:
    t: (B,) times, whole or fractional, not scaled.
    dim: number of channels; an odd one gets a zero at the end.

  Returns:
    (B, dim) float32.
  """
  half = dim // 2
  steps = jnp.arange(half, dtype=jnp.float32)
  frequencies = jnp.exp(-jnp.log(10000.0) * steps / half)
  angles = t.astype(jnp.float32)[:, None] * frequencies
  embedding = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
  return jnp.pad(embedding, ((0, 0), (0, dim % 2)))


class TimestepEmbed(nn.Module):
  """Sinusoid of the time, then a two-layer perceptron with SiLU (DiT).

  All of it in float32 whatever the compute type of the network: it costs
  nothing and every block depends on it.

  Attributes:
    features: width of the result.
    frequencies: width of the sinusoid.
    hidden_size: width between the layers; None is `features`.
  """

  features: int
  frequencies: int = 256
  hidden_size: int | None = None

  @nn.compact
  def __call__(self, t: jax.Array) -> jax.Array:
    """(B,) times to (B, features) float32."""
    x = timestep_sinusoid(t, self.frequencies)
    hidden_size = self.hidden_size or self.features
    x = nn.Dense(hidden_size, kernel_init=NORMAL, name="fc1")(x)
    return nn.Dense(self.features, kernel_init=NORMAL, name="fc2")(nn.silu(x))
