"""DiT-L/8 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_l8.py --workdir=runs/dit_l8

Published: FID 118.87 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-L/8")
