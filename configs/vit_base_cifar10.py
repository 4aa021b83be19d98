r"""ViT-B/2 distilled from unconditional EDM on CIFAR-10.

  python main.py --config=configs/vit_base_cifar10.py \
    --workdir=runs/vit_base_cifar10

Published: FID 11.49, IS 8.61 on 50,000 samples after 800,000 steps (Geng et al.
2023, Table 4); 15.20 and 8.27 after 200,000 (Table 6).

Hardware: 4 A6000, 4.83 steps a second (Table 4).

Differs: pairs are made here, by our teacher and noise. The published FIDs are
against CIFAR-10's test set, about 2 above those against the training set.
"""

from configs.common import experiment
from configs.recipes import get


@experiment
def get_config():
  return get.cifar10("ViT-B/2")
