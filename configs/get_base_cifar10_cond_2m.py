"""Class-conditional GET-Base on CIFAR-10 with two million pairs.

  python main.py --config=configs/get_base_cifar10_cond_2m.py --workdir=runs/get_base_cifar10_cond_2m

Published: FID 5.66, IS 9.63 after 1.2 million steps (Geng et al. 2023, section
4.2, and the authors' repository). See configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(
  get.cifar10, "GET-B/2", num_classes=10, count=2_000_000, num_steps=1_200_000
)
