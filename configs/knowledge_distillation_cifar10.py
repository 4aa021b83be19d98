r"""Knowledge distillation (KD) of a U-Net on CIFAR-10, unconditional.

  python main.py --config=configs/knowledge_distillation_cifar10.py \
    --workdir=runs/knowledge_distillation_cifar10

Published: FID 9.36, IS 8.36 (Luhman and Luhman 2021, in one step). See
configs/recipes/knowledge_distillation.py.
"""

from configs.common import experiment
from configs.recipes import knowledge_distillation

get_config = experiment(knowledge_distillation.cifar10)
