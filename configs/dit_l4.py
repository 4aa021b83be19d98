"""DiT-L/4 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_l4.py --workdir=runs/dit_l4

Published: FID 45.64 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-L/4")
