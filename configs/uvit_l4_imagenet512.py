r"""U-ViT-L/4 on ImageNet at 512 pixels.

  python main.py --config=configs/uvit_l4_imagenet512.py \
    --workdir=runs/uvit_l4_imagenet512

Published: FID 4.67 on 50,000 samples of 50 DPM-Solver steps, guidance 0.7 in
the paper's terms (1.7 in others'), original decoder (Bao et al. 2023, appendix,
Table 3).

Hardware: 8 A100, 166 hours (appendix, Table 2).

The official code's VP process, 3x3 convolution and label dropout 0.15; the
paper's Table 1 describes the H models only. Differs: float32 by default, where
the official code trains in float16 with a dynamic loss scale (nearest here:
--config.model.dtype=bfloat16, which needs no scale and has three bits less).
"""

from configs.common import experiment
from configs.recipes import datasets, uvit


@experiment
def get_config():
  config = uvit.continuous("U-ViT-L/4-512")
  datasets.imagenet_latents(config, 512)
  uvit.guide(config, label_dropout=0.15, scale=0.7)
  return config
