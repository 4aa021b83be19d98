r"""EDM on CIFAR-10, class-conditional, NCSN++ architecture.

  python main.py --config=configs/edm_cifar10_cond_ve.py \
    --workdir=runs/edm_cifar10_cond_ve

Published: FID 1.79 on 50,000 samples of 18 Heun steps (35 evaluations), against
the training set, the least of three sets (Karras et al. 2022, Table 2;
unverified, the text was not at hand).

Hardware: 8 V100, about 2 days (the authors' README).

"ve" names the architecture; process and loss are EDM's. Differs: records come
epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import edm


@experiment
def get_config():
  return edm.cifar10("ve", num_classes=10)
