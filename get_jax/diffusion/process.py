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
  def draw_levels(self, key: jax.Array, batch: int) -> jax.Array:
    """How far each sample of a training batch is noised, (batch,)."""

  @abc.abstractmethod
  def loss_at(
    self, net: Network, x0: jax.Array, levels: jax.Array, noise: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The training loss of every sample.

    Args:
      net: see `Network`.
      x0: (B, H, W, C) float32 clean data.
      levels: (B,), as `draw_levels` gives them.
      noise: (B, H, W, C) standard normal.

    Returns:
      The loss, (B,) float32, and metrics by name, each (B,) float32.
    """

  def draw(
    self, key: jax.Array, shape: tuple[int, ...]
  ) -> tuple[jax.Array, jax.Array]:
    """Levels and noise for data of a shape (B, H, W, C)."""
    level_key, noise_key = jax.random.split(key)
    levels = self.draw_levels(level_key, shape[0])
    return levels, jax.random.normal(noise_key, shape)

  def loss(
    self, net: Network, x0: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`loss_at` levels and noise that are drawn from the key."""
    return self.loss_at(net, x0, *self.draw(key, x0.shape))

  @abc.abstractmethod
  def sigma_of(self, t: jax.Array) -> jax.Array:
    """The noise-to-signal ratio sigma at the network's time t (any shape)."""


def expand(values: jax.Array, x: jax.Array) -> jax.Array:
  """Views (B,) as (B, 1, ..., 1) with as many axes as x."""
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))
