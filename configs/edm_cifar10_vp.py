"""EDM on CIFAR-10, unconditional, DDPM++ architecture.

  python main.py --config=configs/edm_cifar10_vp.py --workdir=runs/edm_cifar10_vp

Published: FID 1.97 (Karras et al. 2022, abstract). Others who retrained it
report 2.04 to 2.08. See configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.cifar10, "vp")
