"""GET-Tiny on CIFAR-10, trained four times as long.

  python main.py --config=configs/get_tiny_cifar10_4xiters.py --workdir=runs/get_tiny_cifar10_4xiters

Published: FID 11.47, IS 8.64 (Geng et al. 2023, Table 2). See
configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-T/2", num_steps=3_200_000)
