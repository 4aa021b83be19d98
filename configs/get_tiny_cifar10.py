"""GET-Tiny distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/get_tiny_cifar10.py --workdir=runs/get_tiny_cifar10

Published: FID 15.19, IS 8.37 (Geng et al. 2023, Table 2); 15.23 and 8.40 in the
authors' repository. See configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-T/2")
