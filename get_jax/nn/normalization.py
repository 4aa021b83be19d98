"""Weight and spectral normalisation of another module's parameters.

Both map a tree of parameters to a tree of the same structure. They are computed
where they are called, that is once per forward pass, however often the block
that receives the result is iterated. They normalise the arrays named "kernel",
whose last axis is the output.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Array, Float

EPSILON = 1e-12
# Power iterations that initialise the singular vectors.
INIT_STEPS = 15


class KernelNorm(nn.Module):
  """Base class of the normalisations.

  Attributes:
    target: Magnitude of all outputs; None learns one magnitude per output.
    clip: Upper bound of the factor a kernel is multiplied by; None for no
      bound.
    skip: Kernels whose path (like "attn/qkv/kernel") contains one of these
      strings are not normalised.
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
      norm = self.kernel_norm(name, kernel)
      magnitude: jax.Array | float
      if self.target is None:
        magnitude = self.param(f"magnitude:{name}", self.init_magnitude, kernel)
      else:
        magnitude = self.target
      factor = magnitude / norm
      if self.clip is not None:
        factor = jnp.minimum(factor, self.clip)
      # One factor per output, or one for the whole kernel.
      shape = (1,) * (kernel.ndim - 1) + factor.shape if factor.ndim else ()
      flat[path] = kernel * factor.reshape(shape)
    return traverse_util.unflatten_dict(flat)

  def kernel_norm(self, name: str, kernel: jax.Array) -> jax.Array:
    """Returns the norm of a kernel: a scalar, or one norm per output."""
    raise NotImplementedError

  def init_magnitude(self, key: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the initial magnitudes, one per output."""
    raise NotImplementedError


class WeightNorm(KernelNorm):
  """kernel * magnitude / |kernel|, with one norm per output.

  Salimans and Kingma, Weight Normalization, 2016. The magnitude is initialised
  with the norm, so the kernel is unchanged at initialisation.
  """

  def kernel_norm(self, name: str, kernel: jax.Array) -> jax.Array:
    """Returns the norms of the outputs."""
    return output_norms(kernel)

  def init_magnitude(self, key: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the norms of the outputs."""
    return output_norms(kernel)


class SpectralNorm(KernelNorm):
  """kernel * magnitude / s, where s estimates the largest singular value.

  Miyato et al., Spectral Normalization for GANs, 2018. The kernel is taken as a
  matrix of outputs against all other axes. The singular vectors are in the
  collection "spectral". In every call in which it is mutable they take `steps`
  power iterations.

  Attributes:
    steps: Power iterations per call.
  """

  steps: int = 1

  def kernel_norm(self, name: str, kernel: jax.Array) -> jax.Array:
    """Returns the estimate v^T M u of the largest singular value."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    constant = jax.lax.stop_gradient(matrix)

    def init_vectors():
      key, shape = self.make_rng("params"), matrix.shape[1:]
      u = jax.random.normal(key, shape, jnp.float32)
      return power_iteration(constant, u.astype(matrix.dtype), INIT_STEPS)

    state = self.variable("spectral", name, init_vectors)
    if self.is_mutable_collection("spectral") and not self.is_initializing():
      state.value = power_iteration(constant, state.value["u"], self.steps)
    return state.value["v"] @ matrix @ state.value["u"]

  def init_magnitude(self, key: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns ones: the normalised kernel has spectral norm 1 initially."""
    return jnp.ones(kernel.shape[-1], kernel.dtype)


def output_norms(kernel: Float[Array, "... E"]) -> Float[Array, " E"]:
  """Returns the Euclidean norms over all axes but the last."""
  return jnp.sqrt(jnp.sum(kernel**2, axis=tuple(range(kernel.ndim - 1))))


def power_iteration(
  matrix: Float[Array, "D E"], u: Float[Array, " E"], steps: int
) -> dict[str, jax.Array]:
  """Returns estimates of the first singular vectors.

  Args:
    matrix: The matrix.
    u: Initial right singular vector.
    steps: Number of iterations, at least 1.

  Returns:
    The left vector "v" (D,) and the right vector "u" (E,).
  """

  def normalized(a):
    return a / jnp.maximum(jnp.linalg.norm(a), EPSILON)

  for _ in range(steps):
    v = normalized(matrix @ u)
    u = normalized(matrix.T @ v)
  return {"u": u, "v": v}
