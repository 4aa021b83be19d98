"""U-ViT-L/4 on ImageNet at 512 pixels.

  python main.py --config=configs/uvit_l4_imagenet512.py --workdir=runs/uvit_l4_imagenet512

Published: FID 4.67 with 50 DPM-Solver steps, guidance 0.7 (1.7 elsewhere) and
the original decoder (Bao et al. 2023, appendix, Table 3). See
configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.large_latents, "U-ViT-L/4-512", 512, scale=0.7)
