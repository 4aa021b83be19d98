"""Interface of the diffusion processes used by training and samplers."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Float, Real, Shaped

from get_jax.diffusion.typing import Array, Network


class Process(abc.ABC):
  """A diffusion process: noise levels, noising of data and training loss.

  Everything is computed in float32, whatever the dtype of the arguments.

  Subclasses are frozen dataclasses of numbers and strings. They are hashable,
  so jitted functions may close over them or take them as static arguments.

  Attributes:
    description: name of the kind of process in error messages.
  """

  description: ClassVar[str]

  @property
  def parameterisation(self) -> Mapping[str, Any]:
    """Settings, by name, that change what a trained network predicts.

    A network can be used with another process of the same class if these are
    equal.
    """
    return {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(cast(Any, self))
    }

  @property
  def metric_names(self) -> tuple[str, ...]:
    """Names of the metrics of `loss_at`."""
    return ("mse",)

  @abc.abstractmethod
  def sample_levels(self, key: jax.Array, batch: int) -> Any:
    """Samples the noise level of every sample of a training batch.

    Args:
      key: PRNG key.
      batch: batch size B.

    Returns:
      (B,) noise levels: sigmas, times or steps, depending on the process; or a
      tree of arrays (B,).
    """

  @abc.abstractmethod
  def loss_at(
    self,
    net: Network,
    x0: Real[Array, "B H W C"],
    levels: Any,
    noise: Real[Array, "B H W C"],
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the training loss of every sample at given levels and noise.

    Args:
      net: see `Network`.
      x0: (B, H, W, C) clean data.
      levels: as returned by `sample_levels`.
      noise: (B, H, W, C) standard normal.

    Returns:
      The loss, (B,) float32, and metrics by name, each (B,) float32.
    """

  def sample_levels_and_noise(
    self, key: jax.Array, shape: tuple[int, ...]
  ) -> tuple[Any, jax.Array]:
    """Samples levels and noise (B, H, W, C) for data of that shape."""
    level_key, noise_key = jax.random.split(key)
    levels = self.sample_levels(level_key, shape[0])
    return levels, jax.random.normal(noise_key, shape, jnp.float32)

  def loss(
    self, net: Network, x0: Real[Array, "B H W C"], key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns `loss_at` with levels and noise sampled with the key."""
    return self.loss_at(net, x0, *self.sample_levels_and_noise(key, x0.shape))

  @abc.abstractmethod
  def sigma_of(self, t: Array) -> jax.Array:
    """Returns the noise-to-signal ratio sigma at the network's time t.

    Args:
      t: time input of the network, any shape.
    """


def as_float32(x: Shaped[Array, "..."] | float) -> Float[jax.Array, "..."]:
  """Returns a number, or an array of numbers or booleans, in float32."""
  return jnp.asarray(x, jnp.float32)


def expand(values: Array, x: Array) -> Array:
  """Reshapes (B,) to (B, 1, ..., 1) with as many axes as x."""
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))
