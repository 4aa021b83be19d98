r"""U-ViT-L/2 on ImageNet at 256 pixels.

  python main.py --config=configs/uvit_l2_imagenet256.py \
    --workdir=runs/uvit_l2_imagenet256

Published: FID 3.40 on 50,000 samples of 50 DPM-Solver steps, guidance 0.4 in
the paper's terms (1.4 in others'), original decoder (Bao et al. 2023, appendix,
Table 3).

Hardware: 8 A100, 100 hours (appendix, Table 2).

The official code's VP process, 3x3 convolution and label dropout 0.15; the
paper's Table 1 describes the H models only. Differs: float32 by default, where
the official code trains in float16 with a dynamic loss scale (nearest here:
--config.model.dtype=bfloat16, which needs no scale and has three bits less).
"""

from configs.common import experiment
from configs.recipes import datasets, uvit


@experiment
def get_config():
  config = uvit.continuous("U-ViT-L/2")
  datasets.imagenet_latents(config, 256)
  config.num_steps = 300_000
  uvit.guide(config, label_dropout=0.15, scale=0.4)
  return config
