"""GET-Base on CIFAR-10 with twice the batch size.

  python main.py --config=configs/get_base_cifar10_2xbatch.py --workdir=runs/get_base_cifar10_2xbatch

Published: FID 6.91, IS 9.16 (Geng et al. 2023, Tables 1 and 2). See
configs/recipes/get.py.
"""

from configs.common import experiment
from configs.recipes import get

get_config = experiment(get.cifar10, "GET-B/2", batch_size=256)
