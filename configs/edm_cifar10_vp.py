r"""EDM on CIFAR-10, unconditional, DDPM++ architecture.

  python main.py --config=configs/edm_cifar10_vp.py \
    --workdir=runs/edm_cifar10_vp

Published: FID 1.97 on 50,000 samples of 18 Heun steps (35 evaluations), against
the training set, the least of three sets (Karras et al. 2022, abstract). Others
who retrained it report 2.04 to 2.08.

Hardware: 8 V100, about 2 days (the authors' README).

"vp" names the architecture; process and loss are EDM's. Differs: records come
epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import edm


@experiment
def get_config():
  return edm.cifar10("vp")
