r"""U-ViT-S/2 (deep) on MS-COCO at 256 pixels, from captions.

  python main.py --config=configs/uvit_s2deep_coco.py \
    --workdir=runs/uvit_s2deep_coco

Published: FID 5.48 (Bao et al. 2023, README of the official code) on 30,000
samples of 50 DPM-Solver++ steps, guidance 1 in the paper's terms (2 in
others'), original decoder.

Hardware: 4 A100, 74 hours (appendix, Table 2).

Differs: float32 by default, where the official code trains in float16 with a
dynamic loss scale (nearest here: --config.model.dtype=bfloat16, which needs no
scale and has three bits less); images are cropped as by ADM, where the official
code scales with Lanczos's filter.
"""

from configs.common import experiment
from configs.recipes import uvit


@experiment
def get_config():
  return uvit.coco("U-ViT-S/2-COCO-deep")
