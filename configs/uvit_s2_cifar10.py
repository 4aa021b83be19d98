"""U-ViT-S/2 on CIFAR-10, unconditional.

  python main.py --config=configs/uvit_s2_cifar10.py --workdir=runs/uvit_s2_cifar10

Published: FID 3.11 with 1,000 Euler-Maruyama steps, against the training set
(Bao et al. 2023, README of the official code). See configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.cifar10, "U-ViT-S/2")
