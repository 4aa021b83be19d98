"""U-ViT-H/2 on ImageNet at 256 pixels.

  python main.py --config=configs/uvit_h2_imagenet256.py --workdir=runs/uvit_h2_imagenet256

Published: FID 2.29 with 50 DPM-Solver++ steps, guidance 0.4 (1.4 elsewhere) and
the ft-EMA decoder (Bao et al. 2023, appendix, Table 3). See
configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.huge_latents, "U-ViT-H/2", 256, scale=0.4)
