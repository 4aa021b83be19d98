"""EDM on CIFAR-10, class-conditional, DDPM++ architecture.

  python main.py --config=configs/edm_cifar10_cond_vp.py --workdir=runs/edm_cifar10_cond_vp

Published: FID 1.79 (Karras et al. 2022, abstract). See configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.cifar10, "vp", num_classes=10)
