"""How fast the moving average of the parameters forgets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from get_jax.errors import UsageError


def constant(decay: float) -> Callable[[jax.Array], jax.Array]:
  """The same decay at every step (DiT, U-ViT, GET: 0.9999)."""
  return lambda step: jnp.float32(decay)


def half_life(
  images: float, batch_size: int, rampup: float = 0.05
) -> Callable[[jax.Array], jax.Array]:
  """EDM's decay: half-life in images, short at first (`rampup` of those seen).

  Step 0 copies the parameters. Source: EDM (Karras et al. 2022), training code.
  """

  def decay(step: jax.Array) -> jax.Array:
    seen = step.astype(jnp.float32) * batch_size
    current = jnp.minimum(images, rampup * seen) if rampup else images
    return 0.5 ** (batch_size / jnp.maximum(current, 1e-8))

  return decay


def create_ema(config, batch_size: int) -> Callable[[jax.Array], jax.Array]:
  """`ema.decay`, or EDM's `ema.half_life_images` with `ema.rampup`.

  Raises:
    UsageError: both or neither of the two are given.
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
