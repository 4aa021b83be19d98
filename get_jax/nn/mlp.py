"""The perceptron of a transformer block."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.nn.linear import XAVIER, Linear


def gelu_tanh(x: jax.Array) -> jax.Array:
  """GELU by its tanh formula (DiT)."""
  return nn.gelu(x, approximate=True)


@jax.custom_jvp
def gelu_erf(x: jax.Array) -> jax.Array:
  """GELU by the error function (GET, ViT, U-ViT).

  Computed in float32 and rounded to the type of `x`. By erf, as PyTorch has
  it, and not by erfc, whose derivative takes XLA's CPU backend as long as half
  of the perceptron's matrix products. A backward pass keeps the slope alone,
  in the type of `x`.
  """
  return gelu_and_slope(x)[0]


@gelu_erf.defjvp
def gelu_erf_jvp(primals, tangents):
  """Value and slope times the tangent, see `gelu_erf`."""
  value, slope = gelu_and_slope(*primals)
  return value, slope * tangents[0]


def gelu_and_slope(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """x P(x) and P(x) + x p(x), with P and p of the normal distribution."""
  wide = x.astype(jnp.float32)
  below = 0.5 * (1 + jax.lax.erf(wide * 0.5**0.5))
  density = jnp.exp(-0.5 * wide**2) * (2 * jnp.pi) ** -0.5
  return (wide * below).astype(x.dtype), (below + wide * density).astype(
    x.dtype
  )


class Mlp(nn.Module):
  """Two biased linear layers with an activation between them.

  Attributes:
    hidden_size: width between the layers.
    activation: elementwise function.
    kernel_init: initialiser of both matrices.
    dtype: type of the matrix products.
  """

  hidden_size: int
  activation: Callable[[jax.Array], jax.Array] = gelu_erf
  kernel_init: nn.initializers.Initializer = XAVIER
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, injection: jax.Array | None = None
  ) -> jax.Array:
    """(B, N, D) to (B, N, D).

    Args:
      x: the tokens.
      injection: added before the activation, broadcast to (B, N, hidden_size).
    """
    dense = dict(kernel_init=self.kernel_init, dtype=self.dtype)
    hidden = Linear(self.hidden_size, name="fc1", **dense)(x)
    if injection is not None:
      hidden = hidden + injection.astype(hidden.dtype)
    hidden = self.activation(hidden)
    return Linear(x.shape[-1], name="fc2", **dense)(hidden)
