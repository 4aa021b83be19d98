"""The perceptron of a transformer block."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from get_jax.nn.linear import XAVIER, Linear


def gelu_tanh(x: jax.Array) -> jax.Array:
  """GELU by its tanh formula (DiT)."""
  return nn.gelu(x, approximate=True)


def gelu_erf(x: jax.Array) -> jax.Array:
  """GELU by the error function (GET, ViT, U-ViT)."""
  return nn.gelu(x, approximate=False)


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
