"""Embeddings of the diffusion time."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

NORMAL = nn.initializers.normal(0.02)


def timestep_sinusoid(t: Real[Array, " B"], dim: int) -> Float[Array, "B E"]:
  """Returns [cos | sin] of t exp(-ln(10000) k / (dim // 2)), k < dim // 2.

  Always computed in float32: bfloat16 cannot represent the fraction of an angle
  near 1000.

  Args:
    t: Times, integer or fractional, not scaled.
    dim: Number of channels E; if odd, the last channel is zero.

  Returns:
    The embedding in float32.
  """
  half = dim // 2
  steps = jnp.arange(half, dtype=jnp.float32)
  frequencies = jnp.exp(-jnp.log(jnp.float32(10000.0)) * steps / half)
  angles = jnp.asarray(t, jnp.float32)[:, None] * frequencies[None]
  embedding = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
  return jnp.pad(embedding, ((0, 0), (0, dim % 2)))


class TimestepEmbed(nn.Module):
  """Sinusoid of the time followed by a two-layer MLP with SiLU (DiT).

  Computed in float32 whatever the compute dtype of the network: it is cheap and
  every block depends on it.

  Attributes:
    features: Width E of the result.
    frequencies: Width of the sinusoid.
    hidden_size: Width between the layers; None is `features`.
    kernel_init: Initialiser of both kernels.
  """

  features: int
  frequencies: int = 256
  hidden_size: int | None = None
  kernel_init: nn.initializers.Initializer = NORMAL

  @nn.compact
  def __call__(self, t: Real[Array, " B"]) -> Float[Array, "B E"]:
    """Embeds times in float32."""
    x = timestep_sinusoid(t, self.frequencies)
    hidden_size = self.hidden_size or self.features
    init = self.kernel_init
    x = nn.Dense(hidden_size, kernel_init=init, name="fc1")(x)
    return nn.Dense(self.features, kernel_init=init, name="fc2")(nn.silu(x))


def add_scalars(
  embedding: Float[Array, "B E"], scalars: Mapping[str, Real[Array, " B"]]
) -> Float[Array, "B E"]:
  """Adds the embeddings of further scalars to the embedding of the time.

  Call it inside a compact method: the scalar "h" has the module "h_embed".

  Args:
    embedding: Embedding of the time.
    scalars: Numbers by name, in the units of the time.
  """
  for name, value in scalars.items():
    embed = TimestepEmbed(embedding.shape[-1], name=f"{name}_embed")
    embedding = embedding + embed(value)
  return embedding
