"""Linear layers of the transformers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.nn.sharding import is_sharded_over, shard_features

XAVIER = nn.initializers.xavier_uniform()
ZEROS = nn.initializers.zeros_init()


def flat_dot_general(
  x: Float[Array, "... D"],
  kernel: Float[Array, "D E"],
  dimensions: Any,
  **options: Any,
) -> Float[Array, "... E"]:
  """Computes x @ kernel with all leading axes of x flattened into one.

  The derivative with respect to the kernel then contracts one axis instead of
  several, which XLA's CPU backend does without copies; this saves a quarter of
  the time of a backward pass. On accelerators the product is the same.

  Args:
    x: Input.
    kernel: Kernel.
    dimensions: Unused; part of the interface of `nn.Dense.dot_general`.
    **options: Of `jax.lax.dot_general`.
  """
  del dimensions
  flat = x.reshape(-1, x.shape[-1])
  out = jax.lax.dot_general(flat, kernel, (((1,), (0,)), ((), ())), **options)
  return out.reshape(*x.shape[:-1], kernel.shape[-1])


class Linear(nn.Dense):
  """`nn.Dense` for tokens; by default Xavier-uniform on the kernel's shape.

  The shape is that of the fused kernel where several projections are fused.
  """

  kernel_init: nn.initializers.Initializer = XAVIER
  dot_general: Any = flat_dot_general


class Projections(nn.Module):
  """Several linear layers of the same tokens, fused into one kernel.

  If the mesh has a "tensor" axis, each of the layers is sharded over it. The
  stored kernel is sharded without regard to the layers; using it that way would
  communicate parts of all results.

  Attributes:
    parts: Number P of layers.
    features: Width E of each result.
    use_bias: Whether the layers have a bias.
    kernel_init: Initialiser of the fused kernel.
    dtype: Dtype of the product; None is float32.
  """

  parts: int
  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = XAVIER
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... P E"]:
    """Applies the layers."""
    dim, part_shape = x.shape[-1], (self.parts, self.features)
    width = self.parts * self.features
    kernel = self.param("kernel", self.kernel_init, (dim, width), jnp.float32)
    bias = None
    if self.use_bias:
      bias = self.param("bias", ZEROS, (width,), jnp.float32)
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    if is_sharded_over("tensor"):
      kernel = shard_features(kernel.reshape(dim, *part_shape))
      out = jnp.einsum("...d,dpe->...pe", x, kernel)
    else:
      out = flat_dot_general(x, kernel, None)
      out = out.reshape(*x.shape[:-1], *part_shape)
    if bias is None:
      return out
    return out + bias.reshape((1,) * (x.ndim - 1) + part_shape)
