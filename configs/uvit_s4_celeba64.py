"""U-ViT-S/4 on CelebA at 64 pixels, unconditional.

  python main.py --config=configs/uvit_s4_celeba64.py --workdir=runs/uvit_s4_celeba64

Published: FID 2.87 with 1,000 Euler-Maruyama steps, against the training set
(Bao et al. 2023, README of the official code). See configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.celeba64, "U-ViT-S/4")
