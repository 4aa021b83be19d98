"""A one-step generator with its sources of noise."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.diffusion.noise import EQUILIBRIUM, INITIAL, SampleNoise
from get_jax.errors import UsageError

Z0 = ("noise", "zeros")


@dataclasses.dataclass(frozen=True)
class Student:
  """Noise to images in one call of a network (GET, or the ViT baseline).

  Attributes:
    model: a one-step generator; one with an equilibrium layer has
      `state_shape`, the shape (N, D) of its state.
    image_shape: (H, W, C).
    z0: where an equilibrium starts: "noise", as the official code, or "zeros".
  """

  model: nn.Module
  image_shape: tuple[int, int, int]
  z0: str = "noise"

  def __post_init__(self):
    if self.z0 not in Z0:
      raise UsageError(f"z0 is {self.z0!r}; expected one of: {', '.join(Z0)}")

  @property
  def has_equilibrium(self) -> bool:
    """Whether the network iterates a layer to its fixed point."""
    return hasattr(self.model, "state_shape")

  def outputs(
    self,
    params: dict,
    noise: SampleNoise,
    start: SampleNoise,
    y: jax.Array | None,
    iterations: int,
  ) -> jax.Array:
    """The decoded image after every iteration, (K, B, H, W, C); for training.

    Args:
      params: parameters of the model.
      noise: of the pairs; its INITIAL stream is the network's input.
      start: its EQUILIBRIUM stream is z0.
      y: labels (B,) or None.
      iterations: K; a network without equilibrium has one output.
    """
    variables, x = {"params": params}, noise(INITIAL, self.image_shape)
    if not self.has_equilibrium:
      return self.model.apply(variables, x, y)[None]
    return self.model.apply(
      variables, x, y, self._z0(start), iterations, method="outputs"
    )

  def __call__(
    self,
    params: dict,
    noise: SampleNoise,
    y: jax.Array | None,
    iterations: int,
  ) -> jax.Array:
    """Samples (B, H, W, C), not clipped; arguments as `outputs`."""
    variables, x = {"params": params}, noise(INITIAL, self.image_shape)
    if not self.has_equilibrium:
      return self.model.apply(variables, x, y)
    return self.model.apply(variables, x, y, self._z0(noise), iterations)

  def _z0(self, noise: SampleNoise) -> jax.Array:
    shape = self.model.state_shape
    if self.z0 == "zeros":
      return jnp.zeros((len(noise.keys), *shape))
    return noise(EQUILIBRIUM, shape)
