"""Fields and inputs that the networks share.

Every network is a `Denoiser` or a `OneStepGenerator`. The transformers over
patches are also a `PatchTransformer`. A subclass redeclares a field to change
its default; the docstrings below describe the field.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.patches import as_pair


class ImageModel(nn.Module):
  """Base class of all networks.

  Attributes:
    input_size: Height and width of the network's input, which is an image or a
      latent; a single number if they are equal.
    in_channels: Channels of the input.
    num_classes: Number of classes; 0 makes the network unconditional.
    dtype: Dtype of the matrix products and convolutions; None is float32.
      Parameters are float32.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    remat: Rematerialisation of blocks, see
      `get_jax.nn.block_stack.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  in_channels: int = 3
  num_classes: int = 0
  dtype: Any = None
  attention: str = "auto"
  remat: str = "none"

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Returns shapes and dtypes of the call's positional arguments."""
    raise NotImplementedError

  def scalar_inputs(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes of the call's keyword arguments."""
    del batch_size
    return {}

  def abstract_images(self, batch_size: int) -> jax.ShapeDtypeStruct:
    """Returns shape and dtype of the input, (B, H, W, C) float32."""
    shape = (batch_size, *as_pair(self.input_size), self.in_channels)
    return jax.ShapeDtypeStruct(shape, jnp.float32)

  def abstract_conditioning(
    self, batch_size: int
  ) -> jax.ShapeDtypeStruct | None:
    """Returns shape and dtype of the labels, (B,) int32 or None."""
    labels = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return labels if self.num_classes else None


class Denoiser(ImageModel):
  """Base class of networks that are called as model(x, t, y, **scalars).

  Attributes:
    null_class: Whether label `num_classes` means "no class", which
      classifier-free guidance needs.
    scalars: Names of further inputs (B,), one number per sample, which are
      embedded like the time: "h", the length of a time interval; "w", a
      guidance scale; or others that the objective and the sampler pass.
  """

  null_class: bool = False
  scalars: tuple[str, ...] = ()

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Returns shapes and dtypes of x, t and y."""
    t = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    return (
      self.abstract_images(batch_size),
      t,
      self.abstract_conditioning(batch_size),
    )

  def scalar_inputs(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes of the scalars by name, (B,) float32."""
    scalar = jax.ShapeDtypeStruct((batch_size,), jnp.float32)
    return dict.fromkeys(self.scalars, scalar)

  def check_scalars(
    self, given: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """Returns the scalars of a call in the order of the field.

    Raises:
      UsageError: They are not those of the field.
    """
    if set(given) != set(self.scalars):
      names = ", ".join(sorted(given)) or "no scalars"
      raise UsageError(
        f"the network is called with {names}; model.scalars is "
        f"{tuple(self.scalars)}"
      )
    return {name: given[name] for name in self.scalars}


class OneStepGenerator(ImageModel):
  """Base class of networks that are called as model(noise, y)."""

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Returns shapes and dtypes of noise and y."""
    return (
      self.abstract_images(batch_size),
      self.abstract_conditioning(batch_size),
    )


class PatchTransformer(ImageModel):
  """Fields of the transformers over the patches of an image or a latent.

  Attributes:
    patch_size: Side of a patch.
    hidden_size: Token width D.
    num_heads: Number of attention heads.
    mlp_ratio: Hidden width of the MLPs divided by D.
    scan: Whether to trace one block of each stack of equal blocks and loop over
      it, which keeps the compile time independent of the depth.
  """

  patch_size: int = 2
  hidden_size: int = 768
  num_heads: int = 12
  mlp_ratio: float = 4.0
  scan: bool = False
