"""U-ViT-M/4 on ImageNet at 64 pixels.

  python main.py --config=configs/uvit_m4_imagenet64.py --workdir=runs/uvit_m4_imagenet64

Published: FID 5.85 with 50 DPM-Solver steps (Bao et al. 2023, appendix, Table
3). See configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.imagenet64, "U-ViT-M/4")
