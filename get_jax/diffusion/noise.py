"""Where the random numbers of sampling come from: the sample, not the batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

INITIAL = 0  # stream of the state that sampling starts from
EQUILIBRIUM = 1  # stream of z0 of an equilibrium layer
STEPS = 2  # streams from here on: step k of a stochastic sampler uses STEPS + k


class SampleNoise(NamedTuple):
  """Standard normal noise that belongs to single samples.

  Sample i draws from its own key, so it does not depend on the batch it is
  drawn in, on the number of hosts or on the mesh.

  Attributes:
    keys: (B,) typed PRNG keys, one per sample.
  """

  keys: jax.Array

  @classmethod
  def of(cls, seed_key: jax.Array, indices) -> "SampleNoise":
    """The noise of samples `indices` ((B,) integers) under one seed key."""
    indices = jnp.asarray(indices, jnp.uint32)
    return cls(jax.vmap(jax.random.fold_in, (None, 0))(seed_key, indices))

  def __call__(self, stream, shape) -> jax.Array:
    """Draws one array per sample.

    Args:
      stream: which of a sample's independent arrays; may be traced. INITIAL
        (0) is the initial state, EQUILIBRIUM (1) the start of an equilibrium
        layer, STEPS + k the noise of step k.
      shape: of one sample, for example (H, W, C).

    Returns:
      (B, *shape) float32, standard normal.
    """

    def draw(key):
      key = jax.random.fold_in(key, stream)
      return jax.random.normal(key, shape, jnp.float32)

    return jax.vmap(draw)(self.keys)
