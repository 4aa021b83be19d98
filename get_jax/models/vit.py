"""ViT: the one-step baseline of the GET paper (section 4).

Maps noise to images in a single pass. The published code determines everything
except the class-conditional variants: its own conditional forward pass does not
run, and adaLN-Zero is known only from the parameter count in Table 6.
"""

import flax.linen as nn
from jaxtyping import Array, Float, Int

from get_jax.errors import UsageError
from get_jax.models.base import OneStepGenerator, PatchTransformer
from get_jax.models.dit import SIZES
from get_jax.nn.adaln import AdaLNBlock, FinalLayer
from get_jax.nn.block_stack import apply_blocks
from get_jax.nn.label_embedding import LabelEmbed
from get_jax.nn.linear import Linear
from get_jax.nn.mlp import gelu_erf
from get_jax.nn.patches import patch_grid, patchify, unpatchify
from get_jax.nn.position_embedding import PositionTable
from get_jax.nn.transformer_block import Block

VARIANTS = {
  f"ViT-{size}/{patch_size}": dict(patch_size=patch_size, **fields)
  for size, fields in SIZES.items()
  for patch_size in (2, 4, 8)
}
CONDITIONINGS = ("injection", "adaLN-Zero")


class ViT(PatchTransformer, OneStepGenerator):
  """One-step generator: plain transformer from noise to image.

  For the other fields see `get_jax.models.base`.

  Attributes:
    depth: Number of blocks.
    conditioning: How a class enters: "injection" (a vector added to queries,
      keys and values of all blocks, as in GET) or "adaLN-Zero".
  """

  depth: int = 12
  conditioning: str = "injection"

  @nn.compact
  def __call__(
    self,
    noise: Float[Array, "B H W C"],
    y: Int[Array, " B"] | None = None,
    train: bool = False,
  ) -> Float[Array, "B H W C"]:
    """Generates images.

    Args:
      noise: Standard normal noise.
      y: Labels; None if unconditional.
      train: Unused; every generator accepts it.

    Returns:
      Images in float32, approximately in [-1, 1], not clipped.

    Raises:
      UsageError: A field has an invalid value, fields do not fit together, or
        labels are missing.
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

    conditioning = None
    if self.num_classes:
      width = self.hidden_size * (1 if adaptive else 3)
      conditioning = LabelEmbed(self.num_classes, width, name="label_embed")(y)
      conditioning = (
        nn.silu(conditioning) if adaptive else conditioning[:, None]
      )
    block_type: type[AdaLNBlock | Block] = AdaLNBlock if adaptive else Block
    blocks = [
      block_type(
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
      blocks, tokens, conditioning, scan=self.scan, remat=self.remat
    )
    final = FinalLayer(
      self.patch_size**2 * self.in_channels,
      affine=not adaptive,
      dtype=self.dtype,
      name="final_layer",
    )
    patches = final(tokens, conditioning if adaptive else None)
    return unpatchify(patches, grid, self.patch_size)
