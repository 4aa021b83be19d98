"""Decay schedules for the exponential moving average of the parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError

DecaySchedule = Callable[[Int[Array, ""]], Float[Array, ""]]


def constant(decay: float) -> DecaySchedule:
  """Returns a constant schedule (DiT, U-ViT, GET: 0.9999)."""
  return lambda step: jnp.float32(decay)


def half_life(
  images: float, batch_size: int, rampup: float = 0.05
) -> DecaySchedule:
  """Returns EDM's schedule, whose half-life is given in images.

  Step 0 copies the parameters. Source: EDM (Karras et al. 2022), training code.

  Args:
    images: half-life in training images.
    batch_size: images per step.
    rampup: upper limit of the half-life, as a fraction of the images seen so
      far; 0 sets no limit.
  """

  def decay(step: jax.Array) -> jax.Array:
    seen = step.astype(jnp.float32) * batch_size
    current = jnp.minimum(images, rampup * seen) if rampup else images
    return 0.5 ** (batch_size / jnp.maximum(current, 1e-8))

  return decay


def create_ema(
  config: ml_collections.ConfigDict, batch_size: int
) -> DecaySchedule:
  """Builds the decay schedule of a config.

  Args:
    config: section `ema`: either `decay`, or `half_life_images` and optionally
      `rampup`.
    batch_size: images per step.

  Raises:
    UsageError: both or neither of `decay` and `half_life_images` are given.
  """
  decay, images = config.get("decay"), config.get("half_life_images")
  if (decay is None) == (images is None):
    raise UsageError(
      f"ema has decay={decay} and half_life_images={images}; "
      "expected exactly one of them"
    )
  if decay is not None:
    return constant(decay)
  return half_life(images, batch_size, config.get("rampup", 0.05))
