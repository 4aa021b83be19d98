r"""U-ViT-H/2 on ImageNet at 256 pixels.

  python main.py --config=configs/uvit_h2_imagenet256.py \
    --workdir=runs/uvit_h2_imagenet256

Published: FID 2.29 on 50,000 samples of 50 DPM-Solver++ steps, guidance 0.4 in
the paper's terms (1.4 in others'), ft-EMA decoder (Bao et al. 2023, appendix,
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
  config = uvit.discrete("U-ViT-H/2")
  datasets.imagenet_latents(config, 256)
  uvit.guide(config, label_dropout=0.1, scale=0.4)
  return config
