"""GET-Small distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/get_small_cifar10.py --workdir=runs/get_small_cifar10

Published: FID 8.00, IS 9.03 (Geng et al. 2023, Table 2); 7.99 and 9.05 in the
authors' repository. See configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-S/2")
