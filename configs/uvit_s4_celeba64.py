r"""U-ViT-S/4 on CelebA at 64 pixels, unconditional.

  python main.py --config=configs/uvit_s4_celeba64.py \
    --workdir=runs/uvit_s4_celeba64

Published: FID 2.87 on 50,000 samples of 1,000 Euler-Maruyama steps (Bao et al.
2023, README of the official code), against the training set.

Hardware: 4 GeForce RTX 2080 Ti, 24 hours (appendix, Table 2).

Differs: float32 by default, where the official code trains in float16 with a
dynamic loss scale (nearest here: --config.model.dtype=bfloat16, which needs no
scale and has three bits less).
"""

from configs.common import experiment
from configs.recipes import datasets, uvit


@experiment
def get_config():
  config = uvit.pixels("U-ViT-S/4", datasets.celeba64())
  config.batch_size = 128
  return config
