"""GET-Mini distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/get_mini_cifar10.py --workdir=runs/get_mini_cifar10

Published: FID 10.72, IS 8.69 (Geng et al. 2023, Table 2); 10.81 and 8.77 in the
authors' repository. See configs/recipes/get.py.

Hardware: 4 A6000, 5.79 steps a second (Table 4).
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-M/2")
