"""Weight and spectral normalisation of another module's parameters.

Both map a tree of parameters to a tree of the same structure, so they are
computed where they are called: once in a forward pass, however often the
block that receives the result is iterated. Normalised are the arrays named
"kernel"; their last axis is the output.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

EPSILON = 1e-12
# Power steps that find the first singular vectors.
FIRST_STEPS = 15


class KernelNorm(nn.Module):
  """What the normalisations share.

  Attributes:
    target: None learns one magnitude for every output; a number fixes them.
    clip: the largest factor a kernel is multiplied by; None sets no bound.
    skip: kernels whose path, like "attn/qkv/kernel", contains one of these
      are left alone.
  """

  target: float | None = None
  clip: float | None = None
  skip: tuple[str, ...] = ()

  @nn.compact
  def __call__(self, params: dict) -> dict:
    """Returns the parameters with their kernels normalised."""
    flat = traverse_util.flatten_dict(params)
    for path, kernel in flat.items():
      name = "/".join(path)
      if path[-1] != "kernel" or any(part in name for part in self.skip):
        continue
      size = self.size(name, kernel)
      magnitude = self.target
      if magnitude is None:
        magnitude = self.param(
          f"magnitude:{name}", self.first_magnitude, kernel
        )
      factor = magnitude / size
      if self.clip is not None:
        factor = jnp.minimum(factor, self.clip)
      flat[path] = kernel * factor
    return traverse_util.unflatten_dict(flat)

  def size(self, name: str, kernel: jax.Array) -> jax.Array:
    """What the kernel is divided by: a scalar or one number an output."""
    raise NotImplementedError

  def first_magnitude(self, key: jax.Array, kernel: jax.Array) -> jax.Array:
    """The magnitudes that training starts from, one an output."""
    raise NotImplementedError


class WeightNorm(KernelNorm):
  """kernel * magnitude / |kernel|, with the norm of every output by itself.

  Salimans and Kingma, Weight Normalization, 2016. At the start the magnitude
  is the norm, so that nothing changes.
  """

  def size(self, name, kernel):
    """The norms of the outputs."""
    return norms(kernel)

  def first_magnitude(self, key, kernel):
    """The norms of the outputs."""
    return norms(kernel)


class SpectralNorm(KernelNorm):
  """kernel * magnitude / s, with s an estimate of its largest singular value.

  Miyato et al., Spectral Normalization for GANs, 2018. The kernel counts as a
  matrix of outputs against everything else. The singular vectors live in the
  collection "spectral" and take `steps` power steps in every call in which it
  is mutable.

  Attributes:
    steps: power steps a call.
  """

  steps: int = 1

  def size(self, name, kernel):
    """The estimate v^T M u of the largest singular value."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    constant = jax.lax.stop_gradient(matrix)

    def first():
      u = jax.random.normal(self.make_rng("params"), matrix.shape[1:])
      return power_steps(constant, u.astype(matrix.dtype), FIRST_STEPS)

    state = self.variable("spectral", name, first)
    if self.is_mutable_collection("spectral") and not self.is_initializing():
      state.value = power_steps(constant, state.value["u"], self.steps)
    return state.value["v"] @ matrix @ state.value["u"]

  def first_magnitude(self, key, kernel):
    """Ones: the normalised kernel has norm 1 at the start."""
    return jnp.ones(kernel.shape[-1], kernel.dtype)


def norms(kernel: jax.Array) -> jax.Array:
  """Euclidean norms over all axes but the last."""
  return jnp.sqrt(jnp.sum(kernel**2, axis=tuple(range(kernel.ndim - 1))))


def power_steps(
  matrix: jax.Array, u: jax.Array, steps: int
) -> dict[str, jax.Array]:
  """Singular vectors after some power steps from the right vector u."""

  def normalized(a):
    return a / jnp.maximum(jnp.linalg.norm(a), EPSILON)

  for _ in range(steps):
    v = normalized(matrix @ u)
    u = normalized(matrix.T @ v)
  return {"u": u, "v": v}
