"""DiffiT on CIFAR-10, unconditional, in pixels.

  python main.py --config=configs/diffit_cifar10.py --workdir=runs/diffit_cifar10

Published: FID 1.95 (Hatamizadeh et al. 2024, Table 2). See
configs/recipes/diffit.py.

Trains on 102.4 million images.
"""

from configs.common import experiment
from configs.recipes import diffit

get_config = experiment(diffit.cifar10)
