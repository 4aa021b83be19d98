r"""U-ViT-H/4 on ImageNet at 512 pixels.

  python main.py --config=configs/uvit_h4_imagenet512.py \
    --workdir=runs/uvit_h4_imagenet512

Published: FID 4.05 on 50,000 samples of 50 DPM-Solver++ steps, guidance 0.7 in
the paper's terms (1.7 in others'), ft-EMA decoder (Bao et al. 2023, appendix,
Table 3).

Hardware: 8 A100, 208 hours (appendix, Table 2).

Differs: float32 by default, where the official code trains in float16 with a
dynamic loss scale (nearest here: --config.model.dtype=bfloat16, which needs no
scale and has three bits less).
"""

from configs.common import experiment
from configs.recipes import datasets, uvit


@experiment
def get_config():
  config = uvit.discrete("U-ViT-H/4")
  datasets.imagenet_latents(config, 512)
  uvit.guide(config, label_dropout=0.1, scale=0.7)
  return config
