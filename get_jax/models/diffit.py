"""Latent DiffiT: diffusion vision transformers (Hatamizadeh et al., 2024).

The architecture is DiT with time-dependent self-attention (TMSA) instead of
adaptive norms: the sum of time and label embeddings shifts queries, keys and
values, and enters nowhere else. Attention is global, that is in one window,
with a learned bias for each relative offset, so the parameters belong to one
grid of tokens.

The published models, their parameter counts (561M in Table 9) and the released
checkpoints have 28 blocks. The paper's text (appendix H.2) and the default of
the released constructor state 30, which would be 601M.
"""

import flax.linen as nn

from get_jax.models.dit import SIZES, DiT
from get_jax.nn.patches import patch_grid
from get_jax.nn.tmsa import DiffiTBlock

_PUBLISHED = dict(patch_size=2, **SIZES["XL"])
_PAPER_TEXT = {**_PUBLISHED, "depth": 30}
VARIANTS = {
  "DiffiT-256": dict(image_size=256, **_PUBLISHED),
  "DiffiT-512": dict(image_size=512, **_PUBLISHED),
  "DiffiT-256-depth30": dict(image_size=256, **_PAPER_TEXT),
  "DiffiT-512-depth30": dict(image_size=512, **_PAPER_TEXT),
}


class DiffiT(DiT):
  """Denoiser: DiT with the blocks of DiffiT; for the other fields see `DiT`.

  The published samples used guidance on three of the four channels, at 256
  pixels with the scale of
  `get_jax.diffusion.Guidance(schedule="power_cosine")`.

  Attributes:
    time: How time and label enter the blocks, see `get_jax.nn.tmsa.TIMES`; the
      published models use "mixed".
  """

  block: str = "TMSA"
  time: str = "mixed"

  def _block(self, name: str) -> nn.Module:
    if self.block != "TMSA":
      return super()._block(name)
    return DiffiTBlock(
      self.num_heads,
      patch_grid(self.input_size, self.patch_size),
      self.mlp_ratio,
      self.time,
      self.attention,
      self.dtype,
      name=name,
    )
