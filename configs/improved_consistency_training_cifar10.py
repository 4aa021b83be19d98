r"""Improved consistency training (iCT) on CIFAR-10, unconditional.

  python main.py --config=configs/improved_consistency_training_cifar10.py \
    --workdir=runs/improved_consistency_training_cifar10

Published: FID 2.83 in one step and 2.46 in two (Song and Dhariwal 2023). See
configs/recipes/consistency.py.
"""

from configs.common import experiment
from configs.recipes import consistency

get_config = experiment(consistency.improved_training)
