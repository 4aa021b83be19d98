r"""Progressive distillation (PD) on CIFAR-10, unconditional.

  python main.py --config=configs/progressive_distillation_cifar10.py \
    --workdir=runs/progressive_distillation_cifar10

The teacher is that of edm_cifar10_ve.py, and trained first. To start from the
published one, use --config.init_from=edm-cifar10-32x32-uncond-ve.

Published: FID 8.34 in one step and 5.58 in two (Song et al. 2023, Table 1). See
configs/recipes/progressive_distillation.py.

The network of two steps is that of a run which ends after its round, with
--config.num_steps=650000 --config.sampler.num_steps=2.
"""

from configs.common import experiment
from configs.recipes import progressive_distillation

get_config = experiment(progressive_distillation.cifar10)
