"""GET-Base distilled from class-conditional EDM on CIFAR-10.

  python main.py --config=configs/get_base_cifar10_cond.py --workdir=runs/get_base_cifar10_cond

Published: FID 6.25, IS 9.40 (Geng et al. 2023, Table 3); 6.23 and 9.42 in the
authors' repository. See configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-B/2", num_classes=10)
