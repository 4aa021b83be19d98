"""ViT: the baseline that GET is compared with (GET paper, section 4).

A one-step generator, from noise to image in a single pass. The published code
fixes everything but the class-conditional variants: its own conditional
forward does not run, and adaLN-Zero is known from the count in Table 6 only.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.models.dit import SIZES
from get_jax.nn.adaln import AdaLNBlock, FinalLayer
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import Linear
from get_jax.nn.mlp import gelu_erf
from get_jax.nn.patches import as_pair, patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable
from get_jax.nn.transformer_block import Block

VARIANTS = {
  f"ViT-{size}/{patch_size}": dict(patch_size=patch_size, **fields)
  for size, fields in SIZES.items()
  for patch_size in (2, 4, 8)
}
CONDITIONINGS = ("injection", "adaLN-Zero")


class ViT(nn.Module):
  """A one-step generator: noise in, image out, through a plain transformer.

  Attributes:
    input_size: height and width of the image; one number if equal.
    patch_size: side of a patch.
    in_channels: channels of noise and image.
    hidden_size: width D of the tokens.
    depth: number of blocks.
    num_heads: attention heads.
    mlp_ratio: hidden width of the perceptrons over D.
    num_classes: classes of the condition; 0 makes the network unconditional.
    conditioning: how a class enters, "injection" (a vector added to queries,
      keys and values of all blocks, as in GET) or "adaLN-Zero".
    dtype: type of the matrix products; None is float32.
    attention: implementation, see `get_jax.nn.attention.attend`.
    scan: trace one block and loop over it.
    remat: see `get_jax.nn.block_stack.rematerialize`.
  """

  input_size: int | tuple[int, int] = 32
  patch_size: int = 2
  in_channels: int = 3
  hidden_size: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_ratio: float = 4.0
  num_classes: int = 0
  conditioning: str = "injection"
  dtype: Any = None
  attention: str = "auto"
  scan: bool = False
  remat: str = "none"

  @nn.compact
  def __call__(
    self, noise: jax.Array, y: jax.Array | None = None, train: bool = False
  ) -> jax.Array:
    """Generates images.

    Args:
      noise: (B, H, W, C) standard normal.
      y: (B,) labels; None if unconditional.
      train: without effect; every generator takes it.

    Returns:
      (B, H, W, C) float32 images, about -1 to 1, not clipped.

    Raises:
      UsageError: fields that do not fit each other, or labels missing.
    """
    del train
    if self.conditioning not in CONDITIONINGS:
      raise UsageError(
        f"conditioning is {self.conditioning!r}; "
        f"expected one of: {', '.join(CONDITIONINGS)}"
      )
    adaptive = self.num_classes > 0 and self.conditioning == "adaLN-Zero"
    grid = patch_grid(self.input_size, self.patch_size)
    tokens = Linear(self.hidden_size, dtype=self.dtype, name="patch_embed")(
      patchify(noise, self.patch_size)
    )
    tokens = PositionTable(grid, name="positions")(tokens)

    condition = None
    if self.num_classes:
      width = self.hidden_size * (1 if adaptive else 3)
      condition = LabelEmbed(self.num_classes, width, name="label_embed")(y)
      condition = nn.silu(condition) if adaptive else condition[:, None]
    block = AdaLNBlock if adaptive else Block
    blocks = [
      block(
        num_heads=self.num_heads,
        mlp_ratio=self.mlp_ratio,
        activation=gelu_erf,
        attention=self.attention,
        dtype=self.dtype,
        name=f"blocks_{i}",
      )
      for i in range(self.depth)
    ]
    tokens = apply_blocks(
      blocks, tokens, condition, scan=self.scan, remat=self.remat
    )
    final = FinalLayer(
      self.patch_size**2 * self.in_channels,
      affine=not adaptive,
      dtype=self.dtype,
      name="final_layer",
    )
    patches = final(tokens, condition if adaptive else None)
    return unpatchify(patches, grid, self.patch_size)

  def inputs(self, batch_size: int) -> tuple[jax.ShapeDtypeStruct | None, ...]:
    """Shapes and types of the call's arguments."""
    size = (batch_size, *as_pair(self.input_size), self.in_channels)
    x = jax.ShapeDtypeStruct(size, jnp.float32)
    y = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return x, (y if self.num_classes else None)
