"""Fixed-point correction: a loss on several states of one solve."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from get_jax.equilibrium.typing import Array


@dataclasses.dataclass(frozen=True)
class Exponential:
  """Exponential weights decay^(n-1-k) for state k of n.

  GET trains with decay 0.8.

  Attributes:
    decay: in (0, 1].
  """

  decay: float = 0.8

  def weights(self, count: int) -> Float[np.ndarray, " n"]:
    """Returns the weights of `count` states; the last is 1."""
    return self.decay ** np.arange(count - 1, -1, -1.0)


@dataclasses.dataclass(frozen=True)
class Linear:
  """Linear weights 1 + bias - slope (n-1-k)/n for state k of n.

  Attributes:
    slope: the first weight is smaller than the last by slope (n-1)/n.
    bias: added to all weights.
  """

  slope: float = 0.9
  bias: float = 0.0

  def weights(self, count: int) -> Float[np.ndarray, " n"]:
    """Returns the weights of `count` states; the last is 1 + bias."""
    return 1 + self.bias - self.slope * np.arange(count - 1, -1, -1.0) / count


@dataclasses.dataclass(frozen=True)
class Constant:
  """The same weight for all states.

  Attributes:
    weight: weight of every state.
  """

  weight: float = 1.0

  def weights(self, count: int) -> Float[np.ndarray, " n"]:
    """Returns the weights of `count` states."""
    return np.full(count, self.weight)


Weighting = Exponential | Linear | Constant
EXPONENTIAL = Exponential()


def correction_loss(
  values: Float[Array, "n ..."], weighting: Weighting = EXPONENTIAL
) -> Float[Array, "..."]:
  """Returns the weighted sum, not the mean, of the losses of the taps.

  Args:
    values: the loss of every tap, (n, ...), ordered by step; the loss of the
      final state is the last.
    weighting: weights of the taps.

  Returns:
    The weighted sum over the first axis, shape (...).
  """
  weights = weighting.weights(values.shape[0])
  return jnp.tensordot(jnp.asarray(weights, values.dtype), values, axes=1)
