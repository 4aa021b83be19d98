"""The DiT of MeanFlow (Geng et al., 2025).

DiT whose conditioning has a second embedding, of the length h of the interval
of times. Its times are from 0 to 1 and not scaled.
"""

from get_jax.models import dit
from get_jax.models.dit import DiT

SIZES = dit.SIZES | {"M": dict(hidden_size=1024, depth=16, num_heads=16)}
VARIANTS = {
  f"MF-{size}/{patch_size}": dict(patch_size=patch_size, **fields)
  for size, fields in SIZES.items()
  for patch_size in (2, 4, 8)
}


class MeanFlowDiT(DiT):
  """Denoiser that predicts average velocities; for the fields see `DiT`."""

  learn_sigma: bool = False
  scalars: tuple[str, ...] = ("h",)
