"""One-step student: a network and the noise that it takes as input."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from get_jax.diffusion.noise import EQUILIBRIUM, INITIAL, SampleNoise
from get_jax.equilibrium import Solution
from get_jax.errors import UsageError

Z0 = ("noise", "zeros")


@dataclasses.dataclass(frozen=True)
class Student:
  """Generates images from noise in one call of a network.

  A denoiser gets the noise, of unit variance, as its state, and a constant
  time. Its output, or the first channels of it, are the image.

  Attributes:
    model: a one-step generator (GET, ViT) or a denoiser (DiT, a U-Net). One
      with an equilibrium layer has `state_shape`, the shape (N, D) of its
      state.
    image_shape: (H, W, C).
    z0: initial state of the equilibrium layer: "noise", as in the official
      code, or "zeros".
    time: time input of a denoiser; None for a one-step generator.
  """

  model: nn.Module
  image_shape: tuple[int, int, int]
  z0: str = "noise"
  time: float | None = None

  def __post_init__(self):
    if self.z0 not in Z0:
      raise UsageError(f"z0 is {self.z0!r}; expected one of: {', '.join(Z0)}")

  @property
  def has_equilibrium(self) -> bool:
    """Whether the network has an equilibrium layer."""
    return hasattr(self.model, "state_shape")

  def outputs(
    self,
    params: dict[str, Any],
    noise: Callable[[int, tuple[int, ...]], jax.Array],
    start: SampleNoise,
    y: Int[Array, " B"] | None,
    iterations: int,
  ) -> Float[Array, "K B H W C"]:
    """Returns the decoded image after each iteration; used in training.

    Args:
      params: parameters of the model.
      noise: noise of the pairs, such as `SampleNoise`; its INITIAL stream is
        the network's input.
      start: noise whose EQUILIBRIUM stream is z0.
      y: class labels (B,) or None.
      iterations: K; a network without an equilibrium layer has one output.
    """
    x = noise(INITIAL, self.image_shape)
    if not self.has_equilibrium:
      return self._image(params, x, y)[None]
    z0 = self._initial_state(start)
    return self._apply(params, x, y, z0, iterations, method="outputs")

  def __call__(
    self,
    params: dict[str, Any],
    noise: SampleNoise,
    y: Int[Array, " B"] | None,
    iterations: int,
  ) -> Float[Array, "B H W C"]:
    """Returns samples, not clipped.

    Args:
      params: parameters of the model.
      noise: noise of the samples; its INITIAL stream is the network's input,
        its EQUILIBRIUM stream z0.
      y: class labels (B,) or None.
      iterations: iterations of the equilibrium layer.
    """
    x = noise(INITIAL, self.image_shape)
    if not self.has_equilibrium:
      return self._image(params, x, y)
    return self._apply(params, x, y, self._initial_state(noise), iterations)

  def residuals(
    self,
    params: dict[str, Any],
    noise: SampleNoise,
    y: Int[Array, " B"] | None,
    iterations: int,
  ) -> Float[Array, "iterations B"]:
    """Returns the relative residual of every iteration of these samples.

    For the arguments see `__call__`. Only a network with an equilibrium layer
    has residuals. They are NaN after the iteration of a sample has ended.
    """
    x, z0 = noise(INITIAL, self.image_shape), self._initial_state(noise)
    _, solution = self.model.apply(
      {"params": params}, x, y, z0, iterations, trace=True, method="solve"
    )
    trace = cast(Solution, solution).relative_trace
    assert trace is not None
    return trace

  def _image(
    self, params: dict[str, Any], x: jax.Array, y: jax.Array | None
  ) -> jax.Array:
    """Returns the output of a network without an equilibrium layer."""
    if self.time is None:
      return self._apply(params, x, y)
    t = jnp.full(x.shape[:1], self.time, jnp.float32)
    return self._apply(params, x, t, y)[..., : x.shape[-1]]

  def _apply(
    self, params: dict[str, Any], *args: Any, method: str | None = None
  ) -> jax.Array:
    # Without mutable collections `apply` returns the output alone.
    output = self.model.apply({"params": params}, *args, method=method)
    return cast(jax.Array, output)

  def _initial_state(self, noise: SampleNoise) -> Float[Array, "B N D"]:
    shape = self.model.state_shape
    if self.z0 == "zeros":
      return jnp.zeros((len(noise.keys), *shape), jnp.float32)
    return noise(EQUILIBRIUM, shape)
