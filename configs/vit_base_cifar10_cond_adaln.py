"""ViT-B/2 on CIFAR-10, classes through adaLN-Zero.

  python main.py --config=configs/vit_base_cifar10_cond_adaln.py --workdir=runs/vit_base_cifar10_cond_adaln

Published: FID 17.19, IS 8.38 after 200,000 steps (Geng et al. 2023, Table 6).
See configs/recipes/get.py.

The batch size, 256, is that of the paper's conditional models. The authors
published no code for this model.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(
  get.cifar10,
  "ViT-B/2",
  num_classes=10,
  num_steps=200_000,
  conditioning="adaLN-Zero",
)
