"""Fixed-point correction: a loss on several states of one trajectory."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from get_jax.equilibrium.typing import Array


@dataclasses.dataclass(frozen=True)
class Exponential:
  """Weights decay^(n-1-k); GET trains with decay 0.8.

  Attributes:
    decay: in (0, 1].
  """

  decay: float = 0.8

  def weights(self, count: int) -> np.ndarray:
    """The weights of `count` states, the last of them 1."""
    return self.decay ** np.arange(count - 1, -1, -1.0)


@dataclasses.dataclass(frozen=True)
class Linear:
  """Weights 1 + bias - slope (n-1-k)/n.

  Attributes:
    slope: what the first state lacks, almost.
    bias: added to all.
  """

  slope: float = 0.9
  bias: float = 0.0

  def weights(self, count: int) -> np.ndarray:
    """The weights of `count` states, the last of them 1 + bias."""
    return 1 + self.bias - self.slope * np.arange(count - 1, -1, -1.0) / count


@dataclasses.dataclass(frozen=True)
class Constant:
  """The same weight for all.

  Attributes:
    weight: that weight.
  """

  weight: float = 1.0

  def weights(self, count: int) -> np.ndarray:
    """The weights of `count` states."""
    return np.full(count, self.weight)


Weighting = Exponential | Linear | Constant
EXPONENTIAL = Exponential()


def correction_loss(values: Array, weighting: Weighting = EXPONENTIAL) -> Array:
  """The weighted sum, not the mean, of the losses of successive states.

  Args:
    values: the loss of every tap, (n, ...), the final state's last.
    weighting: how much each counts.

  Returns:
    The sum over the first axis, shape (...).
  """
  weights = weighting.weights(values.shape[0])
  return jnp.tensordot(jnp.asarray(weights, values.dtype), values, axes=1)
