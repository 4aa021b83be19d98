r"""U-ViT-M/4 on ImageNet at 64 pixels.

  python main.py --config=configs/uvit_m4_imagenet64.py \
    --workdir=runs/uvit_m4_imagenet64

Published: FID 5.85 on 50,000 samples of 50 DPM-Solver steps (Bao et al. 2023,
appendix, Table 3).

Hardware: 8 A100, 59 hours (appendix, Table 2).

Differs: float32 by default, where the official code trains in float16 with a
dynamic loss scale (nearest here: --config.model.dtype=bfloat16, which needs no
scale and has three bits less); sampled classes are uniform, where the official
ones follow their frequency.
"""

from configs.common import experiment
from configs.recipes import datasets, uvit


@experiment
def get_config():
  config = uvit.continuous("U-ViT-M/4", datasets.imagenet64(flip=True))
  config.num_steps = 300_000
  config.optimizer.learning_rate = 3e-4
  return config
