"""What every diffusion process offers to training and to samplers."""

import abc
from collections.abc import Callable
from typing import ClassVar

import jax

# A network with parameters and labels closed over: x (B, H, W, C) float32 and
# t (B,) float32, the time that it was trained on, to (B, H, W, C or 2C).
Network = Callable[[jax.Array, jax.Array], jax.Array]


class Process(abc.ABC):
  """How data is noised, what a network learns from it, and how hard.

  Subclasses are frozen dataclasses of numbers and words: hashable, so they
  may be closed over by jitted functions or given to them as static arguments.

  Attributes:
    kind: what it is, in the words of messages.
  """

  kind: ClassVar[str]

  @abc.abstractmethod
  def loss(
    self, net: Network, x0: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The training loss of every sample.

    Args:
      net: see `Network`.
      x0: (B, H, W, C) float32 clean data.
      key: PRNG key of this step; noise levels and noise are drawn from it.

    Returns:
      The loss, (B,) float32, and metrics by name, each (B,) float32.
    """

  @abc.abstractmethod
  def sigma_of(self, t: jax.Array) -> jax.Array:
    """The noise-to-signal ratio sigma at the network's time t (any shape)."""


def expand(values: jax.Array, x: jax.Array) -> jax.Array:
  """Views (B,) as (B, 1, ..., 1) with as many axes as x."""
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))
