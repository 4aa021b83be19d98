"""GET-Base distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/get_base_cifar10.py --workdir=runs/get_base_cifar10

Published: FID 7.42, IS 9.16 (Geng et al. 2023, Table 2); 7.39 and 9.17 in the
authors' repository. See configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-B/2")
