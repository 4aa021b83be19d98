"""EDM on CIFAR-10, unconditional, NCSN++ architecture.

  python main.py --config=configs/edm_cifar10_ve.py --workdir=runs/edm_cifar10_ve

Published: FID 1.98 (Karras et al. 2022, Table 2; unverified, the text was not
at hand). See configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.cifar10, "ve")
