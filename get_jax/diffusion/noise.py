"""Random numbers for sampling that depend on the sample, not on the batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

INITIAL = 0  # Stream of the initial state of sampling.
EQUILIBRIUM = 1  # Stream of the initial state z0 of an equilibrium layer.
STEPS = 2  # First stream of the steps: step k uses stream STEPS + k.


class SampleNoise(NamedTuple):
  """Standard normal noise with one PRNG key per sample.

  The noise of sample i depends on its own key only, so it does not depend on
  the batch, the number of hosts or the mesh.

  Attributes:
    keys: (B,) typed PRNG keys, one per sample.
  """

  keys: Key[Array, " B"]

  @classmethod
  def create(cls, seed_key: jax.Array, indices) -> "SampleNoise":
    """Returns the noise of samples with given indices.

    Args:
      seed_key: PRNG key shared by all samples.
      indices: (B,) integers, the indices of the samples.
    """
    indices = jnp.asarray(indices, jnp.uint32)
    return cls(jax.vmap(jax.random.fold_in, (None, 0))(seed_key, indices))

  def __call__(self, stream, shape: tuple[int, ...]) -> Float[Array, "B ..."]:
    """Returns one standard normal array per sample.

    Args:
      stream: integer that selects one of the independent arrays of a sample;
        may be traced. INITIAL (0) is the initial state, EQUILIBRIUM (1) the
        initial state of an equilibrium layer, STEPS + k the noise of step k.
      shape: shape of one sample, for example (H, W, C).

    Returns:
      (B, *shape) float32, standard normal.
    """

    def normal(key):
      key = jax.random.fold_in(key, stream)
      return jax.random.normal(key, shape, jnp.float32)

    return jax.vmap(normal)(self.keys)
