r"""U-ViT-S/2 on CIFAR-10, unconditional.

  python main.py --config=configs/uvit_s2_cifar10.py \
    --workdir=runs/uvit_s2_cifar10

Published: FID 3.11 on 50,000 samples of 1,000 Euler-Maruyama steps (Bao et al.
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
  data = datasets.cifar10(flip=True)
  config = uvit.pixels("U-ViT-S/2", data, b2=0.999)
  config.batch_size = 128
  config.optimizer.warmup_steps = 2_500
  return config
