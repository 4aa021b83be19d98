r"""Consistency distillation (CD) on CIFAR-10, unconditional.

  python main.py --config=configs/consistency_distillation_cifar10.py \
    --workdir=runs/consistency_distillation_cifar10

The teacher is that of edm_cifar10_ve.py, and trained first. To start from the
published one, use --config.init_from=edm-cifar10-32x32-uncond-ve.

Published: FID 3.55 in one step and 2.93 in two (Song et al. 2023, Table 1, with
LPIPS). See configs/recipes/consistency.py.
"""

from configs.common import experiment
from configs.recipes import consistency

get_config = experiment(consistency.distillation)
