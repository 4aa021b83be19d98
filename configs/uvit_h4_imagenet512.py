"""U-ViT-H/4 on ImageNet at 512 pixels.

  python main.py --config=configs/uvit_h4_imagenet512.py --workdir=runs/uvit_h4_imagenet512

Published: FID 4.05 with 50 DPM-Solver++ steps, guidance 0.7 (1.7 elsewhere) and
the ft-EMA decoder (Bao et al. 2023, appendix, Table 3). See
configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.huge_latents, "U-ViT-H/4", 512, scale=0.7)
