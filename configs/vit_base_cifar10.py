"""ViT-B/2 distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/vit_base_cifar10.py --workdir=runs/vit_base_cifar10

Published: FID 11.49, IS 8.61 (Geng et al. 2023, Table 4); 15.20 and 8.27 after
200,000 steps (Table 6). See configs/recipes/get.py.

Hardware: 4 A6000, 4.83 steps a second (Table 4).
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "ViT-B/2")
