r"""Easy consistency tuning (ECT) on CIFAR-10, unconditional.

  python main.py --config=configs/easy_consistency_cifar10.py \
    --workdir=runs/easy_consistency_cifar10

Starts from EDM's published network.

Published: FID 3.86 in one step and 2.15 in two (Geng et al. 2024, the official
code's table, 200,000 steps). See configs/recipes/consistency.py.
"""

from configs.common import experiment
from configs.recipes import consistency

get_config = experiment(consistency.easy_tuning)
