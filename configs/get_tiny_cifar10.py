r"""GET-Tiny distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/get_tiny_cifar10.py \
    --workdir=runs/get_tiny_cifar10

Published: FID 15.19, IS 8.37 on 50,000 samples of 6 iterations after 800,000
steps on a million pairs (Geng et al. 2023, Table 2); 15.23 and 8.40 in the
authors' repository.

Hardware and time: not stated for this model; the benchmarks of Table 4 ran on 4
A6000.

Differs: pairs are made here, by our teacher and noise. The published FIDs are
against CIFAR-10's test set, about 2 above those against the training set.
"""

from configs.common import experiment
from configs.recipes import get


@experiment
def get_config():
  return get.cifar10("GET-T/2")
