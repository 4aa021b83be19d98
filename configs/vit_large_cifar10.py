"""ViT-L/2 distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/vit_large_cifar10.py --workdir=runs/vit_large_cifar10

Published: a point of Figures 2 and 3, above GET-Small's FID of 8.00 (Geng et
al. 2023); the value is not printed. See configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "ViT-L/2")
