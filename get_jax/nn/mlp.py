"""The MLP of a transformer block and its activations."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.nn.linear import XAVIER, Linear


def gelu_tanh(x: jax.Array) -> jax.Array:
  """GELU by its tanh approximation (DiT)."""
  return nn.gelu(x, approximate=True)


@jax.custom_jvp
def gelu_erf(x: jax.Array) -> jax.Array:
  """GELU by the error function (GET, ViT, U-ViT).

  Computed in float32 and rounded to the dtype of `x`. It uses erf, as PyTorch
  does, and not erfc: the derivative of erfc takes XLA's CPU backend as long as
  half of the MLP's matrix products. A backward pass keeps only the derivative,
  in the dtype of `x`.
  """
  return gelu_and_derivative(x)[0]


@gelu_erf.defjvp
def gelu_erf_jvp(primals, tangents):
  """Returns the value and the derivative times the tangent of `gelu_erf`."""
  value, derivative = gelu_and_derivative(*primals)
  return value, derivative * tangents[0]


def gelu_and_derivative(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns x P(x) and P(x) + x p(x).

  P and p are the distribution function and the density of the standard normal
  distribution.
  """
  wide = x.astype(jnp.float32)
  cdf = 0.5 * (1 + jax.lax.erf(wide * 0.5**0.5))
  density = jnp.exp(-0.5 * wide**2) * (2 * jnp.pi) ** -0.5
  value = (wide * cdf).astype(x.dtype)
  return value, (cdf + wide * density).astype(x.dtype)


class Mlp(nn.Module):
  """Two linear layers with biases and an activation between them.

  Attributes:
    hidden_size: Width between the layers.
    activation: Elementwise function.
    kernel_init: Initialiser of both kernels.
    dtype: Dtype of the matrix products; None is float32.
  """

  hidden_size: int
  activation: Callable[[jax.Array], jax.Array] = gelu_erf
  kernel_init: nn.initializers.Initializer = XAVIER
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "... D"], injection: jax.Array | None = None
  ) -> Float[Array, "... D"]:
    """Applies the MLP.

    Args:
      x: Tokens.
      injection: Added before the activation; broadcast to
        (B, N, hidden_size).

    Returns:
      Tokens of the same shape.
    """
    options: dict[str, Any] = dict(
      kernel_init=self.kernel_init, dtype=self.dtype
    )
    hidden = Linear(self.hidden_size, name="fc1", **options)(x)
    if injection is not None:
      hidden = hidden + injection.astype(hidden.dtype)
    hidden = self.activation(hidden)
    return Linear(x.shape[-1], name="fc2", **options)(hidden)
